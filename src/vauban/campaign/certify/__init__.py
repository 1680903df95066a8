"""Certificates for a campaign: for every threat that is a ball, what is proven of each row, by whichever proof fits the target."""

from vauban.campaign.certify.proofs import Proof, Wanted, proof_of
from vauban.campaign.certify.results import Certificates, RowCertificate
from vauban.campaign.certify.run import Tick, certify_plan

__all__ = ["Certificates", "Proof", "RowCertificate", "Tick", "Wanted", "certify_plan", "proof_of"]
