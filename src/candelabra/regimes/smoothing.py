"""What is believed of each label at each bar when the whole series has been heard: the belief beside a path, in hindsight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from candelabra.regimes.filters import markov_filter

__all__ = ["markov_smoother"]

Array = NDArray[np.float64]


def markov_smoother(log_evidence: Array, start: Array, transition: Array) -> Array:
    """Chance ``(n, K)`` of each label at each bar given all bars before and after it.

    Two filters meet at each bar (Kitagawa 1994): one comes from the beginning, one from the end along the reversed chain; both heard the
    bar itself and one of them knew the usual shares, so these are taken out once.

    >>> sure = markov_smoother(np.log([[0.9, 0.1], [0.5, 0.5], [0.9, 0.1]]), np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.1, 0.9]]))
    >>> sure[1].round(2).tolist()
    [0.95, 0.05]
    """
    if not len(log_evidence):
        return np.empty_like(log_evidence)
    usual = _usual_shares(transition)
    back = np.ascontiguousarray(transition.T * usual[None, :] / usual[:, None])
    forward = markov_filter(np.ascontiguousarray(log_evidence), start, transition)
    backward = markov_filter(np.ascontiguousarray(log_evidence[::-1]), usual, back)[::-1]
    heard = log_evidence - log_evidence.max(axis=1, keepdims=True)
    log_belief = np.log(np.maximum(forward, 1e-300)) + np.log(np.maximum(backward, 1e-300)) - heard - np.log(usual)
    belief = np.exp(log_belief - log_belief.max(axis=1, keepdims=True))
    return np.asarray(belief / belief.sum(axis=1, keepdims=True))


def _usual_shares(transition: Array) -> Array:
    """The shares of time of a chain that runs for long."""
    k = len(transition)
    equations = np.vstack([transition.T - np.eye(k), np.ones(k)])
    shares = np.linalg.lstsq(equations, np.append(np.zeros(k), 1.0), rcond=None)[0]
    return np.asarray(np.maximum(shares, 1e-12))
