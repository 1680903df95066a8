"""The guard: a security-critical classifier in service, so that an attacker learns almost nothing and pays for every question.

It stands apart from what besieges: nothing in it knows an attack, a defence or torch. `vauban serve guard.toml` is its door.

One attempt passes, in this order:

1. `server`: bytes are counted, the token is checked, the answer leaves in a time slot;
2. `limits`: a place is reserved in every scope at once, or in none; it is never given back;
3. `images`: decoded in a process of its own;
4. `quorum`: every model answers; `watch`: fingerprints and statistics are taken;
5. `ledger`: the record is written with the decision, or there is no decision.
"""
