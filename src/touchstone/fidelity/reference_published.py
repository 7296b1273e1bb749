"""Published figures that go with the project: part one of the evidence needs no data folder.

Each is a case of the form that `reference_cases` evaluates; the numbers are the papers' own, to
the digits that they print.
"""

from typing import Any, Final

_SKY_PERFECT: Final = {"lambda1": 1.85, "theta1": 0.71, "mu": 0.94, "spread": 1}
_CST: Final = "Cont, Stoikov and Talreja, Operations Research 58(3), 2010"

PUBLISHED: Final[tuple[dict[str, Any], ...]] = (
    {
        "id": "cst2010_up_table3",
        "inputs": _SKY_PERFECT,
        "expected": [
            [0.500, 0.336, 0.259, 0.216, 0.188],
            [0.664, 0.500, 0.407, 0.348, 0.307],
            [0.741, 0.593, 0.500, 0.437, 0.391],
            [0.784, 0.652, 0.563, 0.500, 0.452],
            [0.812, 0.693, 0.609, 0.548, 0.500],
        ],
        "tolerance": 0.001,
        "source": f"{_CST}, Table 3 (Laplace transform results)",
    },
    {
        "id": "cst2010_making_the_spread_table5",
        "inputs": _SKY_PERFECT,
        "expected": [
            [0.266, 0.308, 0.309, 0.300, 0.288],
            [0.308, 0.386, 0.406, 0.406, 0.400],
            [0.309, 0.406, 0.441, 0.452, 0.452],
            [0.300, 0.406, 0.452, 0.471, 0.479],
            [0.288, 0.400, 0.452, 0.479, 0.491],
        ],
        "tolerance": 0.001,
        "source": f"{_CST}, Table 5 (Laplace transform results)",
    },
    {
        # What Table 4 prints is not the probability of its title (see the page's text).
        "id": "cst2010_bid_gone_first_table4",
        "inputs": _SKY_PERFECT,
        "expected": [
            [0.497, 0.641, 0.709, 0.749, 0.776],
            [0.302, 0.449, 0.535, 0.591, 0.631],
            [0.206, 0.336, 0.422, 0.483, 0.528],
            [0.152, 0.263, 0.344, 0.404, 0.452],
            [0.118, 0.213, 0.287, 0.346, 0.393],
        ],
        "tolerance": 0.001,
        "source": f"{_CST}, Table 4 (Laplace transform results), as the complement it is",
    },
    {
        "id": "almgren2005_table3",
        "inputs": {
            "gamma": 0.314,
            "eta": 0.142,
            "beta": 0.6,
            "delta": 0.25,
            "IBM": {"daily_vol_bp": 157, "inv_turnover": 263},
            "DRI": {"daily_vol_bp": 226, "inv_turnover": 87},
        },
        "expected": {
            "IBM": {
                "0.1": {"perm_bp": 20, "temp_bp": 22, "realized_bp": 32},
                "0.2": {"perm_bp": 20, "temp_bp": 15, "realized_bp": 25},
                "0.5": {"perm_bp": 20, "temp_bp": 8, "realized_bp": 18},
            },
            "DRI": {
                "0.1": {"perm_bp": 22, "temp_bp": 32, "realized_bp": 43},
                "0.2": {"perm_bp": 22, "temp_bp": 21, "realized_bp": 32},
                "0.5": {"perm_bp": 22, "temp_bp": 12, "realized_bp": 23},
            },
        },
        "tolerance": 0.5,
        "source": "Almgren, Thum, Hauptmann and Li, Risk, July 2005, Table 3 (whole basis points)",
    },
    {
        "id": "obizhaeva_wang_cont_base",
        "inputs": {"X0": 100_000, "T": 1, "q": 5_000, "lambda_perm": 1e-4},
        "expected": {
            "2.231": {
                "x0": 23_635.1,
                "xT": 23_635.1,
                "rate": 52_729.9,
                "transient_cost": 236_350.7,
                "permanent_cost": 500_000.0,
            },
        },
        "tolerance": 1e-6,
        "source": "Obizhaeva and Wang, J. Financial Markets 16, 2013, Proposition 3, base case",
    },
    {
        "id": "kyle_single_theorem1",
        "inputs": {"Sigma0": 4.0, "sigma_u2": 9.0},
        "expected": {"lam": 0.333333, "beta": 1.5, "profit": 3.0, "Sigma1": 2.0},
        "tolerance": 1e-9,
        "source": "Kyle, Econometrica 53, 1985, Theorem 1",
    },
    {
        "id": "gatheral_gamma_star",
        "inputs": {},
        "expected": 0.415037,
        "tolerance": 1e-6,
        "source": "Gatheral, Quantitative Finance 10, 2010: 2 - log 3 / log 2",
    },
    {
        "id": "dark_pool_greedy_figure1",
        "inputs": {
            "T": [[0.9, 0.6, 0.5, 0.1, 0.05], [0.8, 0.7, 0.3, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5, 0]],
            "V": 7,
        },
        "expected": {"allocation": [3, 2, 2], "expected_fill": 4.5},
        "tolerance": 1e-9,
        "source": "Ganchev, Nevmyvaka, Kearns and Vaughan, CACM 53(5), 2010, Figure 1's algorithm",
    },
    {
        "id": "iceberg_refills_47_10",
        "inputs": {"peak": 10, "total": 47},
        "expected": {"tranches": [10, 10, 10, 10, 7], "n_refills": 4},
        "tolerance": 0,
        "source": "exchanges' rule: a refill joins the tail of its level",
    },
)
