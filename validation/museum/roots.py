"""Matrix roots, and derivatives through eigenvalues."""

import numpy as np

from refwfm import bures, psd
from refwfm.bures_metric import EuclideanTangent
from refwfm.measures import Gaussian
from refwfm.validation.museum.exhibit import Exhibit, Mutant, Trap, near, refuses


def exhibits() -> list[Exhibit]:
    """Exhibits of this room."""
    return [*_roots(), *_derivatives()]


def _roots() -> list[Exhibit]:
    return [
        Exhibit(
            "scipy-7839",
            "the root of zero",
            "scipy/scipy#7839",
            2017,
            "The root of a matrix of zeros was a matrix of NaN: a recursion divides by sums of eigenvalues.",
            Trap(zero_has_a_root, psd.sqrtm, root_by_recursion),
        ),
        Exhibit(
            "scipy-4867",
            "roots of integer matrices",
            "scipy/scipy#4867",
            2015,
            "Where a root could not be computed, NaN was to be filled in; for matrices of integers the "
            "result was the most negative integer everywhere, and its error estimate was not to be trusted.",
            Trap(integers_have_no_integer_root, psd.sqrtm, root_in_the_type_of_the_matrix),
        ),
        Exhibit(
            "scipy-25610",
            "the root of a number is its exponential",
            "scipy/scipy#25610",
            2026,
            "A special case for scalars called another function: the root of 1 was 2.718.",
            Mutant("WFM-U4", "SciPy sqrtm", exponential_in_one_dimension),
        ),
        Exhibit(
            "pytorch-192483",
            "eigenvectors that are not orthonormal",
            "pytorch/pytorch#192483",
            2026,
            "A batched eigendecomposition of complex matrices on a GPU was right at the first call, and its "
            "bases were off by a third at later ones, without an error.",
            Mutant("WFM-U4", "SciPy sqrtm", eigenvectors_of_a_batch_are_not_orthonormal),
        ),
        Exhibit(
            "pytorch-187759",
            "singular values of a matrix with NaN",
            "pytorch/pytorch#187759",
            2026,
            "Singular values alone came out finite for a matrix that holds NaN, so that its rank was full; "
            "the full decomposition of the same matrix kept the NaN.",
            Trap(undefined_matrices_have_no_norm, psd.nuclear_norm, norm_of_what_is_left),
        ),
    ]


def _derivatives() -> list[Exhibit]:
    return [
        Exhibit(
            "autograd-527",
            "derivatives of a root at equal eigenvalues",
            "HIPS/autograd#527",
            2019,
            "Eigenvectors were differentiated by quotients of eigenvalue gaps, which are 0 / 0 at equal "
            "eigenvalues: NaN, even for functions that have a derivative there.",
            Trap(equal_eigenvalues_have_lifts, lift, lift_by_eigenvalue_gaps),
        ),
        Exhibit(
            "jax-669",
            "gradients at the identity",
            "jax-ml/jax#669",
            2019,
            "Gradients through eigenvectors of matrices with equal eigenvalues are not finite, or noise; the "
            "identity is the first matrix that is tried.",
            Trap(the_identity_has_a_gradient, bures.sq_distance, distance_by_eigenvectors, "torch"),
        ),
    ]


# What is right


def lift(cov, change):
    """Symmetric S with ``S cov + cov S = change``."""
    zero = np.zeros(len(cov))
    return bures.from_euclidean(cov, EuclideanTangent(zero, change)).lift


# What goes wrong


def root_by_recursion(matrix):
    """Björck and Hammarling's recursion for a triangular matrix."""
    root = np.diag(np.sqrt(np.diag(matrix)))
    for j in range(len(root)):
        for i in range(j - 1, -1, -1):
            rest = matrix[i, j] - root[i, i + 1 : j] @ root[i + 1 : j, j]
            root[i, j] = rest / (root[i, i] + root[j, j])
    return root


def root_in_the_type_of_the_matrix(matrix):
    """The root in an array like the matrix."""
    return psd.sqrtm(matrix.astype(np.float64)).astype(matrix.dtype)


def exponential_in_one_dimension(matrix):
    """The exponential of 1 x 1 matrices, the root of others."""
    return np.exp(matrix) if matrix.shape[-1] == 1 else psd.sqrtm(matrix)


def eigenvectors_of_a_batch_are_not_orthonormal(matrix):
    """Eigenvectors of the second and later members are mixed with each other."""
    values, vectors = np.linalg.eigh(matrix)
    d = matrix.shape[-1]
    mixed = np.eye(d) + 0.3 * np.ones((d, d))
    vectors = np.concatenate([vectors[:1], vectors[1:] @ mixed])
    return (vectors * np.sqrt(values)[:, None, :]) @ vectors.mT


def norm_of_what_is_left(matrix):
    """Undefined entries taken for zeros."""
    return psd.nuclear_norm(np.nan_to_num(matrix))


def lift_by_eigenvalue_gaps(cov, change):
    """Derivative of the root of ``cov²``, which is the lift, by those of eigenvalues and eigenvectors."""
    values, vectors = np.linalg.eigh(cov @ cov)
    inner, roots = vectors.T @ change @ vectors, np.sqrt(values)
    turns = inner / (values[:, None] - values)  # 0 / 0 on the diagonal, which is not used
    of_root = np.where(np.eye(len(cov)) > 0, inner / (2.0 * roots), turns * (roots[:, None] - roots))
    return vectors @ of_root @ vectors.T


def distance_by_eigenvectors(mu, nu):
    """Textbook distance of torch tensors, roots by eigenvectors, derivative by torch."""
    import torch

    def root(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return (vectors * torch.sqrt(values)) @ vectors.mT

    cross = torch.trace(root(root(mu.cov) @ nu.cov @ root(mu.cov)))
    return torch.sum((mu.mean - nu.mean) ** 2) + torch.trace(mu.cov) + torch.trace(nu.cov) - 2.0 * cross


# What is asked


def zero_has_a_root(sqrtm):
    """A matrix of zeros."""
    return near(sqrtm(np.zeros((3, 3))), np.zeros((3, 3)), 0.0)


def integers_have_no_integer_root(sqrtm):
    """A matrix of integers is refused, or has its root."""
    matrix = np.asarray([[2, 1], [1, 2]])
    return refuses(sqrtm, matrix) or near(sqrtm(matrix) @ sqrtm(matrix), matrix, 1e-12)


def undefined_matrices_have_no_norm(norm):
    """A matrix with one NaN: NaN, or an error."""
    try:
        return bool(np.isnan(norm(np.asarray([[np.nan, 0.0], [0.0, 1.0]]))))
    except (ValueError, np.linalg.LinAlgError):
        return True


def equal_eigenvalues_have_lifts(lift):
    """At the identity: half of the change."""
    change = np.asarray([[1.0, 2.0], [2.0, -1.0]])
    return near(lift(np.eye(2), change), 0.5 * change, 1e-12)


def the_identity_has_a_gradient(sq_distance):
    """From N(0, I) to N(0, diag(4, 4, 9)): I less the optimal map, diag(-1, -1, -2)."""
    import torch

    cov = torch.eye(3, dtype=torch.float64, requires_grad=True)
    zero, end = (
        torch.zeros(3, dtype=torch.float64),
        torch.diag(torch.tensor([4.0, 4.0, 9.0], dtype=torch.float64)),
    )
    (gradient,) = torch.autograd.grad(sq_distance(Gaussian(zero, cov), Gaussian(zero, end)), cov)
    return near(gradient.numpy(), np.diag([-1.0, -1.0, -2.0]), 1e-9)
