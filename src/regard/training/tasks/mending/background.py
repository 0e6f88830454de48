"""Slices that nobody named: clusters of backgrounds, by the network's own features of pictures without their object.

The object's box is filled from around it where regions are known; else the middle of the picture, where objects mostly
are. K-means for each number of clusters from two to six; that of the largest mean silhouette is taken (Rousseeuw 1987).
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from regard.data.dataset import Dataset
from regard.data.images.preparation import batches
from regard.data.regions import Regions
from regard.measurement.localisation.objects import input_masks
from regard.measurement.reliance.compositing import as_shown, background_alone, fillable, normalised
from regard.networks.network import Network
from regard.progress import Progress, silent
from regard.training.tasks.probe import check_finite

COLUMN = "found background"
MOST = 6
MIDDLE = 0.7
"""The sides of the middle as a share of the picture's: half of its area."""
FEWEST = 20
"""Pictures (or groups) of a class that a cluster must have to be a slice of its own: the smallest slice decides how
many are drawn of each."""
SAMPLE = 2000
"""Pictures on which a silhouette is computed, at most."""


def with_backgrounds(
    network: Network,
    dataset: Dataset,
    regions: Regions | None,
    *,
    batch_size: int = 16,
    workers: int = 2,
    units: NDArray[np.int64],
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Dataset, str]:
    """The data set with the cluster of each picture in the column `COLUMN`, and how they were found, in words.

    A cluster in which a class has fewer `units` (pictures,) than `FEWEST` is no slice of it."""
    features, masked = _features(network, dataset, regions, batch_size, workers, progress)
    clusters, silhouette = _clusters(features, seed)
    clusters = _merged(clusters, dataset.labels, units, features)
    pictures = tuple(
        replace(picture, columns={**picture.columns, COLUMN: str(cluster + 1)})
        for picture, cluster in zip(dataset.pictures, clusters.tolist(), strict=True)
    )
    what = f"the object filled on {masked} pictures, the middle on {len(dataset) - masked}"
    count = len(np.unique(clusters))
    return replace(dataset, pictures=pictures), f"{count} clusters of backgrounds ({what}; silhouette {silhouette:.2f})"


def _features(
    network: Network, dataset: Dataset, regions: Regions | None, batch_size: int, workers: int, progress: Progress
) -> tuple[NDArray[np.float32], int]:
    """(pictures, width) of the pictures without their object, and of how many the object is known."""
    preparation = network.preparation
    edges = [round(side * (1 - MIDDLE) / 2) for side in (preparation.height, preparation.width)]
    middle = torch.zeros(preparation.height, preparation.width, dtype=torch.bool)
    middle[edges[0] : preparation.height - edges[0], edges[1] : preparation.width - edges[1]] = True
    rows = []
    masked = 0
    with progress("computing backgrounds", len(dataset)) as advance:
        for batch in batches(dataset.pictures, preparation, batch_size=batch_size, workers=workers):
            shown = as_shown(batch.pixels)
            holes = middle.expand(len(shown), -1, -1).clone()
            if regions is not None:
                some = [dataset.pictures[index] for index in batch.indices]
                masks = torch.from_numpy(input_masks(regions, some, batch.sizes, preparation).masks)
                useful = fillable(masks)
                holes[useful] = masks[useful]
                masked += int(useful.sum())
            pictures = normalised(background_alone(shown, holes), preparation)
            rows.append(network.features(pictures.to(network.device))[0].float().cpu().numpy())
            advance(len(shown))
    features = np.concatenate(rows)
    check_finite(features)
    return features, masked


def _clusters(features: NDArray[np.float32], seed: int) -> tuple[NDArray[np.int64], float]:
    """(pictures,) the cluster of each, and the mean silhouette; one cluster where there are fewer than three pictures
    that differ."""
    best = np.zeros(len(features), np.int64), 0.0
    distinct = len(np.unique(features, axis=0))
    with threadpool_limits(1):
        for count in range(2, min(MOST, distinct - 1) + 1):
            clusters = KMeans(count, n_init=10, random_state=seed).fit_predict(features).astype(np.int64)
            sample = min(SAMPLE, len(features))
            silhouette = float(silhouette_score(features, clusters, sample_size=sample, random_state=seed))
            if silhouette > best[1]:
                best = clusters, silhouette
    return best


def _merged(
    clusters: NDArray[np.int64], labels: NDArray[np.int64], units: NDArray[np.int64], features: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The clusters (pictures,), where the smallest of a class is joined to its nearest until none is small."""
    merged = clusters.copy()
    centres = {cluster: features[clusters == cluster].mean(0) for cluster in np.unique(clusters).tolist()}
    for label in np.unique(labels).tolist():
        while True:
            own = np.unique(merged[labels == label]).tolist()
            counts = {cluster: len(np.unique(units[(labels == label) & (merged == cluster)])) for cluster in own}
            small = min(own, key=counts.__getitem__)
            if counts[small] >= FEWEST or len(own) == 1:
                break
            near = {each: float(np.linalg.norm(centres[each] - centres[small])) for each in own if each != small}
            merged[(labels == label) & (merged == small)] = min(near, key=near.__getitem__)
    return merged
