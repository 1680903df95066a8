"""Defences: what makes a model withstand more, and what each of them owes.

A defence that stands in front of a model is a target around a target (`vauban.target.Target`): it answers like any model, states the threat
it claims to stop, and carries the surrogate that its own attacker would take gradients from, so that no audit can forget the adaptive
attack. What it claims is then measured like any other target, on rows it has never seen.

A defence that changes the weights (`training`) gives an ordinary model; its attacker is the ordinary one, and it owes the cost of training
and the accuracy on clean inputs that it gave up.
"""
