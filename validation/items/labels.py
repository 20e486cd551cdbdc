"""Audited conditioning of appendix E.2: labels of clouds, and guidance by them."""

import numpy as np

from refwfm import networks
from refwfm.validation import network_corners
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.plain_transformer import (
    HEADS,
    N_FEATURES,
    N_LABELS,
    plain,
    random_clouds,
    random_parameters,
    run,
    slope_error,
)
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order of the appendix."""
    return [labels(), guidance()]


# Labels


def labels() -> Item:
    """Conditioning on labels and vectors."""
    return Item(
        id="WFM-AppE2-labels",
        paper="WFM",
        place="appendix E.2",
        title="labels of clouds, and none",
        latex=r"v(X,t,y),\quad v(X,t,\varnothing)",
        statement="A label, a vector, or their absence enters with the time in every block.",
        functions=(networks.feature_embedding, networks.unlabelled),
        checks=(
            Check(
                "plain NumPy, one cloud at a time",
                labels_are_plain,
                run,
                {
                    "labels of the neighbours": lambda params, points, mask, t, labels: run(
                        params, points, mask, t, np.roll(labels, 1, axis=0)
                    ),
                    "labels left out": lambda params, points, mask, t, labels: run(
                        params, points, mask, t, networks.unlabelled(params, labels)
                    ),
                    "no label as zeros": lambda params, points, mask, t, labels: (
                        run(
                            params,
                            points,
                            mask,
                            t,
                            np.where(np.isnan(labels), 0.0, labels).astype(labels.dtype),
                        )
                        if labels.dtype.kind == "f"
                        else run(params, points, mask, t, labels % N_LABELS)
                    ),
                },
                roundings(300, "eight layers of width 6"),
                dimensions=(2,),
            ),
            Check(
                "complex-step derivative of plain NumPy",
                pullback_of_labels,
                lambda params, points, mask, t, labels, g: networks.transformer(
                    params, points, mask, t, labels, heads=HEADS
                )[1](g),
                {
                    "no label has no gradient": _no_label_forgotten,
                    "labels of the neighbours": lambda params, points, mask, t, labels, g: (
                        networks.transformer(
                            params, points, mask, t, np.roll(labels, 1, axis=0), heads=HEADS
                        )[1](g)
                    ),
                },
                roundings(300, "eight layers of width 6"),
                dimensions=(2,),
                repeats=1,
            ),
            network_corners.absent_features_check(),
        ),
    )


def _labelled(draw):
    """Parameters and labels of both kinds; the last cloud has none."""
    features = draw.normal(3, N_FEATURES)
    features[2] = np.nan
    for options, given in (
        ({"n_labels": N_LABELS}, np.asarray([1, 0, N_LABELS])),
        ({"n_features": N_FEATURES}, features),
    ):
        yield random_parameters(draw, **options), given


def _no_label_forgotten(params, points, mask, t, labels, g):
    grads = networks.transformer(params, points, mask, t, labels, heads=HEADS)[1](g)
    if "none" in grads["labels"]:
        kept = {**grads["labels"], "none": np.zeros_like(grads["labels"]["none"])}
    else:
        table = grads["labels"]["table"]
        kept = {"table": table * (np.arange(len(table)) < N_LABELS)[:, None]}
    return {**grads, "labels": kept}


def labels_are_plain(network, draw):
    """Velocities of clouds with a label each, and of one without."""
    worst, (points, mask, t) = 0.0, random_clouds(draw)
    for params, given in _labelled(draw):
        truth = plain(params, points, mask, t, given)
        result = draw.call(network, params, points, mask, t, given)
        worst = worst_of(worst, relative(result, truth, np.max(np.abs(truth))))
    return worst


def pullback_of_labels(pullback, draw):
    """``⟨g, derivative along ξ⟩ = ⟨pullback(g), ξ⟩``, for the parameters of labels too."""
    worst, (points, mask, t) = 0.0, random_clouds(draw)
    g = draw.normal(*points.shape)
    for params, given in _labelled(draw):
        grads = draw.call(pullback, params, points, mask, t, given, g)

        def value(there, given=given):
            return np.sum(g * plain(there, points, mask, t, given))

        worst = worst_of(worst, slope_error(grads, params, value, draw))
    return worst


# Guidance


def guidance() -> Item:
    """Classifier-free guidance."""
    return Item(
        id="WFM-AppE2-guidance",
        paper="WFM",
        place="appendix E.2",
        title="classifier-free guidance",
        latex=r"v_w=(1+w)\,v(X,t,y)-w\,v(X,t,\varnothing)",
        statement="The velocity moves on from the one without a label beyond the one with it.",
        functions=(networks.guidance,),
        checks=(
            Check(
                "the scores of two Gaussians",
                guidance_of_scores,
                networks.guidance,
                {
                    "the sign": lambda v_label, v_none, weight: networks.guidance(v_label, v_none, -weight),
                    "labels exchanged": lambda v_label, v_none, weight: networks.guidance(
                        v_none, v_label, weight
                    ),
                    "w for 1 + w": lambda v_label, v_none, weight: networks.guidance(
                        v_label, v_none, weight - 1.0
                    ),
                },
                roundings(30, "a difference of numbers up to 10"),
                dimensions=(1, 3, 16),
            ),
        ),
    )


def guidance_of_scores(guidance, draw):
    """Score of the density ``p(x | y)^(1 + w) / p(x)^w`` of two isotropic Gaussians, again a Gaussian.

    Precisions a and b give the precision ``(1 + w) a - w b`` and the mean that completes the square.
    """
    weight, a, b = 1.5, 2.0, 1.0
    x, mean, other = (draw.normal(draw.size, draw.d) for _ in range(3))
    precision = (1.0 + weight) * a - weight * b
    centre = ((1.0 + weight) * a * mean - weight * b * other) / precision
    truth = -precision * (x - centre)
    scores = draw.rounded(-a * (x - mean)), draw.rounded(-b * (x - other))
    return relative(draw.call(guidance, *scores, weight), truth, 10.0 + np.max(np.abs(truth)))
