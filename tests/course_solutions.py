"""Solutions of the exercises of the course, by their names."""

import numpy as np
from scipy.linalg import sqrtm

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
