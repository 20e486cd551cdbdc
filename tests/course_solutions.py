"""Solutions of the exercises of the course, by their names."""

import numpy as np
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

# Chapter 1


def ex_01(x, y):
    return np.mean((np.sort(x) - np.sort(y)) ** 2)


def ex_02(x, a, y, b):
    i, j = np.argsort(x), np.argsort(y)
    upper, other = np.cumsum(a[i]), np.cumsum(b[j])
    shared = np.minimum(upper[:, None], other) - np.maximum((upper - a[i])[:, None], other - b[j])
    plan = np.zeros((len(x), len(y)))
    plan[np.ix_(i, j)] = np.maximum(shared, 0.0)
    return plan


def ex_03(x, mean0, var0, mean1, var1):
    return mean1 + np.sqrt(var1 / var0) * (x - mean0)


def ex_04(x, y, t):
    return (1.0 - t) * np.sort(x) + t * np.sort(y)


def ex_05(x, y, theta):
    return np.mean((np.sort(theta @ x.T, axis=-1) - np.sort(theta @ y.T, axis=-1)) ** 2)


# Chapter 2


def ex_06(A, B):
    root = sqrtm(A)
    inverse = np.linalg.inv(root)
    return inverse @ sqrtm(root @ B @ root) @ inverse


def ex_07(mean0, A, mean1, B):
    root = sqrtm(A)
    return np.sum((mean0 - mean1) ** 2) + np.trace(A + B - 2.0 * sqrtm(root @ B @ root))


def ex_08(mean0, A, mean1, B, t):
    T = (1.0 - t) * np.eye(len(A)) + t * ex_06(A, B)
    return (1.0 - t) * mean0 + t * mean1, T @ A @ T


def ex_09(A, B, t):
    one, C = np.eye(len(A)), ex_06(A, B)
    return (C - one) @ np.linalg.inv((1.0 - t) * one + t * C)


def ex_10(mean, A, a, S):
    T = np.eye(len(A)) + S
    return mean + a, T @ A @ T


# Chapter 3


def ex_11(cost, g, b, eps):
    return -eps * logsumexp((g - cost) / eps, b=b, axis=-1)


def ex_12(cost, a, b, eps):
    g = np.zeros(len(b))
    for _ in range(100):
        f = ex_11(cost, g, b, eps)
        g = ex_11(cost.T, f, a, eps)
    return a[:, None] * b * np.exp((f[:, None] + g - cost) / eps)


def ex_13(plan, a, b):
    return np.abs(plan.sum(axis=1) - a).sum(), np.abs(plan.sum(axis=0) - b).sum()


def ex_14(cost, a, b, eps, f, g):
    P = a[:, None] * b * np.exp((f[:, None] + g - cost) / eps)
    return f @ a + g @ b - eps * (P.sum() - 1.0)


def ex_15(x, y, g, b, eps):
    exponents = (g - np.sum((x[:, None] - y) ** 2, axis=-1)) / eps
    w = b * np.exp(exponents - exponents.max(axis=-1, keepdims=True))
    return (w / w.sum(axis=-1, keepdims=True)) @ y


# Chapter 4


def ex_16(x, y):
    cost = np.sum((x[:, None] - y) ** 2, axis=-1)
    return cost[linear_sum_assignment(cost)].mean()


def ex_17(plan):
    left, partner = plan.copy(), np.zeros(len(plan), dtype=int)
    for _ in range(len(plan)):
        i, j = np.unravel_index(np.argmax(left), left.shape)
        partner[i] = j
        left[i] = left[:, j] = -np.inf
    return partner


def ex_18(plan, y):
    return (plan @ y) / plan.sum(axis=1, keepdims=True)


def ex_19(x, a):
    mean = a @ x
    return mean, (x - mean).T @ (a[:, None] * (x - mean))


def ex_20(x, a, y, b):
    cost = np.sum((x[:, None] - y) ** 2, axis=-1)
    return a @ cost.min(axis=1) + b @ cost.min(axis=0)


# Chapter 5


def ex_21(x0, x1, t):
    return x0 + t[:, None] * (x1 - x0), x1 - x0


def ex_22(pred, target, a):
    return a @ np.sum((pred - target) ** 2, axis=-1)


def ex_23(x, y, a):
    z = (x + y) / 2
    w = np.all(z[:, None] == z, axis=-1) * a
    return (w @ (y - x)) / w.sum(axis=1, keepdims=True)


def ex_24(x, t, c, p, sigma, tau):
    s2 = tau**2 + (1.0 - t) ** 2 * sigma**2
    z = np.log(p) - np.sum((x[:, None] - c) ** 2, axis=-1) / (2.0 * s2)
    w = np.exp(z - z.max(axis=1, keepdims=True))
    return -(1.0 - t) * sigma**2 / s2 * (x - (w / w.sum(axis=1, keepdims=True)) @ c)


def ex_25(field, x, n_steps):
    h = 1.0 / n_steps
    for k in range(n_steps):
        v = field(x, k * h)
        x = x + h / 2 * (v + field(x + h * v, (k + 1) * h))
    return x


# Chapter 6


def ex_26(A, B, t):
    D = ex_06(A, B) - np.eye(len(A))
    T = np.eye(len(A)) + t * D
    return D @ A @ T + T @ A @ D


def ex_27(a, S, b, R, cov):
    return np.sum((a - b) ** 2) + np.trace((S - R) @ cov @ (S - R).T)


def ex_28(field, mean, A, n_steps):
    h = 1.0 / n_steps
    for k in range(n_steps):
        a, S = field(mean, A, k * h)
        mean, A = ex_10(mean, A, h * a, h * S)
    return mean, A


def ex_29(mean, A, target, B, t):
    return (target - mean) / (1.0 - t), (ex_06(A, B) - np.eye(len(A))) / (1.0 - t)


def ex_30(mean, A, target, B):
    return mean - target, np.eye(len(A)) - ex_06(A, B)


# Chapter 7


def ex_31(cost):
    plan = np.zeros_like(cost)
    plan[linear_sum_assignment(cost)] = 1.0 / len(cost)
    return plan


def ex_32(x, y):
    cost = np.array([[ex_16(p, q) for q in y] for p in x])
    return cost[linear_sum_assignment(cost)].mean()


def ex_33(outer, plans, x, y):
    sq = np.sum((x[:, None, :, None] - y[None, :, None]) ** 2, axis=-1)
    return np.sum(outer[:, :, None, None] * plans * sq)


def ex_34(x, y):
    return np.mean(np.sum((x - y) ** 2, axis=-1))


def ex_35(s, x, y):
    aligned = [z[linear_sum_assignment(np.sum((s[:, None] - z) ** 2, axis=-1))[1]] for z in (x, y)]
    return ex_34(*aligned)


# Chapter 8


def ex_36(train, new):
    z = np.arcsinh(train / 5.0)
    return (np.arcsinh(new / 5.0) - z.mean(axis=0)) / z.std(axis=0).mean()


def ex_37(z, graph):
    return (z + z[graph].sum(axis=1)) / (graph.shape[1] + 1)


def ex_38(x0, x1):
    return x0 + x1.mean(axis=0) - x0.mean(axis=0)


def ex_39(x, y):
    def mean(p, q, gamma):
        return np.exp(-gamma * np.sum((p[:, None] - q) ** 2, axis=-1)).mean()

    rates = (2.0, 1.0, 0.5, 0.1, 0.01, 0.005)
    return np.mean([mean(x, x, g) + mean(y, y, g) - 2.0 * mean(x, y, g) for g in rates])


def ex_40(generated, cross, reference):
    both = np.block([[generated, cross], [cross.T, reference]])
    np.fill_diagonal(both, np.inf)
    own = np.arange(len(both)) < len(generated)
    hits = own[np.argmin(both, axis=1)] == own
    return hits.mean(), hits[own].mean(), hits[~own].mean()
