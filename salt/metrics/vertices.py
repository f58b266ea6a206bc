"""Which vertices are found."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class VertexMatches:
    """Numbers of vertices, [2] each: of primary vertices and of secondary ones.

    Args:
        true: Vertices that could be found.
        groups: Groups that were predicted.
        matched: Groups that are a true vertex.
    """

    true: Tensor
    groups: Tensor
    matched: Tensor


def match_vertices(jet: Tensor, vertex: Tensor, group: Tensor, share: float) -> VertexMatches:
    """Compares predicted groups with true vertices.

    Only constituents with a label are looked at, and only vertices and groups of at least two of them. A group is a
    vertex if it has more than `share` of its constituents, and these are more than `share` of the group: the double
    majority of the TrackML challenge (Amrouche et al., arXiv:1904.06778, section 3), there for tracks and with a
    half. Then at most one group is a given vertex. A group is primary if at least half of it comes from the primary
    vertex.

    Args:
        jet: [T] number of the jet.
        vertex: [T] true vertex in the jet, 0 for the primary one, negative for no label.
        group: [T] predicted group, a number below T that differs between jets.
        share: At least one half, below 1.
    """
    number = max(len(group), 1)
    known = vertex >= 0
    jet, vertex, group = jet[known], vertex[known], group[known]
    keys, vertex_T = torch.unique(jet * 2**32 + vertex, return_inverse=True)
    vertex_size, group_size = torch.bincount(vertex_T), torch.bincount(group, minlength=number)
    is_primary = keys % 2**32 == 0
    in_primary = torch.zeros_like(group_size).index_add_(0, group, (vertex == 0).long())
    both, shared = torch.unique(vertex_T * number + group, return_counts=True)
    v, g = both // number, both % number
    of_vertex, of_group = vertex_size[v], group_size[g]
    matched = (of_vertex > 1) & (of_group > 1) & (shared > share * of_vertex) & (shared > share * of_group)
    return VertexMatches(
        _by_kind(vertex_size > 1, is_primary),
        _by_kind(group_size > 1, 2 * in_primary >= group_size),
        _by_kind(matched, is_primary[v]),
    )


def _by_kind(counted: Tensor, primary: Tensor) -> Tensor:
    return torch.stack([(counted & primary).sum(), (counted & ~primary).sum()])
