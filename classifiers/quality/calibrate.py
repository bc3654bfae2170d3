"""From a classifier's output to a probability, learned on the held-out part and kept as a short table."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_EDGE = 1e-6  # fastText's softmax is in float32 and reaches 0 and 1: the log odds must stay finite


def fit(how: str, raw: Floats, labels: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Fit the calibration named; both classes must be present. The result is plain JSON."""
    if how == "platt":
        from sklearn.linear_model import LogisticRegression

        # Platt's targets keep a separable held-out part from pushing the slope to infinity; C = 1 does the
        # same here.
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(log_odds(raw)[:, None], labels)
        return {"kind": "platt", "slope": float(model.coef_[0, 0]), "shift": float(model.intercept_[0])}
    if how == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(raw, labels)
        return {
            "kind": "isotonic",
            "raw": model.X_thresholds_.tolist(),
            "score": model.y_thresholds_.tolist(),
        }
    return {"kind": "none"}


def apply(calibration: dict[str, Any], raw: Floats) -> npt.NDArray[np.float32]:
    """Map raw outputs to calibrated scores in [0, 1]."""
    if calibration["kind"] == "platt":
        odds = calibration["slope"] * log_odds(raw) + calibration["shift"]
        return np.asarray(1.0 / (1.0 + np.exp(-odds)), np.float32)
    if calibration["kind"] == "isotonic":
        return np.asarray(np.interp(raw, calibration["raw"], calibration["score"]), np.float32)
    return np.clip(raw, 0.0, 1.0).astype(np.float32)


def log_odds(raw: Floats) -> Floats:
    clipped = np.clip(raw, _EDGE, 1.0 - _EDGE)
    return np.log(clipped / (1.0 - clipped))
