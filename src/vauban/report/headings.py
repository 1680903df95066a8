"""The headings of public frameworks that a finding of Vauban can speak to, and by which topic. Plain values.

Ids are the frameworks' own; titles are short paraphrases. Sources: NIST AI 100-1 (AI RMF 1.0, 2023), Regulation (EU) 2024/1689,
MITRE ATLAS, NIST AI 100-2 E2025.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading of a framework.

    Attributes:
        framework, id, title: which.
        topics: what of a record speaks to it (see `vauban.report.evidence`); none where a run of Vauban never does.
    """

    framework: str
    id: str
    title: str
    topics: tuple[str, ...] = ()


RMF, ACT, ATLAS, AML = "NIST AI RMF 1.0", "EU AI Act (Regulation (EU) 2024/1689)", "MITRE ATLAS", "NIST AI 100-2 E2025"

HEADINGS = (
    Heading(RMF, "GOVERN 1.5", "Ongoing monitoring and periodic review of risk management are planned"),
    Heading(RMF, "MAP 2.3", "Considerations for test, evaluation, verification and validation are identified and documented", ("threats",)),
    Heading(RMF, "MAP 5.1", "Likelihood and magnitude of each identified impact are documented", ("evasion",)),
    Heading(RMF, "MEASURE 1.1", "Approaches and metrics to measure the identified risks are chosen and used", ("threats",)),
    Heading(RMF, "MEASURE 2.1", "Test sets, metrics and tools of evaluation are documented", ("reproduction",)),
    Heading(RMF, "MEASURE 2.3", "Performance is measured under conditions like those of deployment", ("accuracy",)),
    Heading(
        RMF, "MEASURE 2.5", "The system is shown to be valid and reliable; limits of generality are documented", ("accuracy", "doubts")
    ),
    Heading(RMF, "MEASURE 2.6", "The system is evaluated regularly for safety risks", ("evasion", "errors")),
    Heading(RMF, "MEASURE 2.7", "Security and resilience are evaluated and documented", ("evasion", "rounding", "errors")),
    Heading(RMF, "MEASURE 2.10", "Privacy risk is examined and documented"),
    Heading(RMF, "MEASURE 2.11", "Fairness and bias are evaluated and documented", ("groups",)),
    Heading(RMF, "MEASURE 2.13", "The effectiveness of the metrics and processes of evaluation is itself evaluated", ("doubts",)),
    Heading(RMF, "MANAGE 1.1", "Whether the system meets its aims and may proceed is decided", ("promises",)),
    Heading(RMF, "MANAGE 1.4", "Residual risks are documented", ("evasion", "doubts")),
    Heading(RMF, "MANAGE 4.1", "Monitoring after deployment is planned and carried out"),
    Heading(
        ACT,
        "Article 15(1)",
        "An appropriate level of accuracy, robustness and cybersecurity, kept throughout the life cycle",
        ("accuracy", "evasion", "promises"),
    ),
    Heading(ACT, "Article 15(3)", "Levels and metrics of accuracy are declared in the instructions for use", ("accuracy",)),
    Heading(ACT, "Article 15(4)", "Resilience to errors, faults and inconsistencies", ("errors", "rounding")),
    Heading(ACT, "Article 15(4), feedback loops", "Systems that go on learning: biased outputs must not feed back"),
    Heading(ACT, "Article 15(5), adversarial examples or model evasion", "Inputs designed to make the model err", ("evasion",)),
    Heading(ACT, "Article 15(5), data poisoning", "Attempts to manipulate the training data", ("poisoning",)),
    Heading(ACT, "Article 15(5), model poisoning", "Attempts to manipulate pre-trained components", ("model poisoning",)),
    Heading(
        ACT, "Article 15(5), confidentiality attacks", "Attempts to extract data or the model", ("extraction", "membership", "inversion")
    ),
    Heading(ACT, "Article 15(5), model flaws", "Flaws of the model itself"),
    Heading(ATLAS, "AML.T0015", "Evade the model", ("evasion",)),
    Heading(ATLAS, "AML.T0043", "Craft adversarial data", ("evasion",)),
    Heading(ATLAS, "AML.T0020", "Poison training data", ("poisoning",)),
    Heading(ATLAS, "AML.T0018", "Manipulate the model (backdoor)", ("model poisoning",)),
    Heading(ATLAS, "AML.T0024.000", "Infer membership of the training data", ("membership",)),
    Heading(ATLAS, "AML.T0024.001", "Invert the model", ("inversion",)),
    Heading(ATLAS, "AML.T0024.002", "Extract the model", ("extraction",)),
    Heading(AML, "Evasion", "Integrity violated when the model is deployed", ("evasion",)),
    Heading(AML, "Poisoning", "Availability or integrity violated in training", ("poisoning", "model poisoning")),
    Heading(AML, "Privacy: data reconstruction", "Training data rebuilt from the model", ("inversion",)),
    Heading(AML, "Privacy: membership inference", "Whether a record was trained on", ("membership",)),
    Heading(AML, "Privacy: model extraction", "The model copied through its answers", ("extraction",)),
)
"""In the order of the evidence file."""
