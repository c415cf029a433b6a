"""
What KumoMTA's file helpers answer, modelled a second time.

Written from the description of the helpers and checked against the answers of a real kumod (`../parity`), not from
policyd's own code: where policyd and these models disagree, one of them is wrong, and independence is the point.

Every model takes the parsed files of one kind, in the order in which KumoMTA loads them, and a question. `variant` says
which of two ways a name finds its entry: `stock` is KumoMTA's trie, `nearest` is policyd's promise.
"""
