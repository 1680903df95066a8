"""What the raw outputs of a model may be, in words; `vauban.target.outputs` turns each into scores."""

OUTPUTS = {
    "auto": "recognised from the first answers, and refused where it could be several things",
    "logits": "one score for each class, of any size",
    "probabilities": "one number in [0, 1] for each class, summing to 1",
    "log-probabilities": "the logarithms of probabilities",
    "sigmoid": "one number in [0, 1], the probability of class 1 of two",
    "binary-logit": "one number of any size, the logit of class 1 of two",
}
