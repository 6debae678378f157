"""A second opinion on masks, from the package ``renderers``, which renders known families of models without their chat template.

    comparison = compare(tokenizer, rows, renderer="qwen3")
    comparison.agrees                               # every difference has a reason
    for row in comparison.rows:
        for difference in row.differences: ...      # where, what each says, why, whom transformers agrees with

maskkit traces the model's own template; the package has a program for each family, written by hand. Where both say the same of a token,
two methods that share nothing do. ``maskkit check renderers`` is the same on the command line.
"""

from maskkit.integrations.renderers.comparison import Comparison, RowComparison, compare
from maskkit.integrations.renderers.package import known_renderers
from maskkit.integrations.renderers.reasons import ASPECTS, REASONS, UNEXPLAINED, Difference

__all__ = ["ASPECTS", "REASONS", "UNEXPLAINED", "Comparison", "Difference", "RowComparison", "compare", "known_renderers"]
