"""Published weightings that are a few lines of one's own. Select one by file: ``strategy: ./published_strategies.py:TokenCleaning``."""

import maskkit


class TokenCleaning(maskkit.Strategy):
    """Train what a stronger model finds more probable than the base model: token cleaning with a fixed threshold (arXiv:2502.01968)."""

    name = "token-cleaning"
    token_columns = ("base_log_probs", "reference_log_probs")  # one number per token each, such as add_reference.py writes

    class Options(maskkit.StrategyOptions):
        threshold: float = 0.0
        """Tokens whose gain, in nats, is larger than this are trained."""

    def weights(self, tokens):
        gain = tokens.extras["reference_log_probs"] - tokens.extras["base_log_probs"]
        return tokens.where(generated=True) & (gain > self.options.threshold)


class CutReasoning(maskkit.Strategy):
    """Train what the model generates, but not the closing tag of reasoning that the row says was cut off."""

    name = "cut-reasoning"

    def weights(self, tokens):
        trained = tokens.where(generated=True)
        return trained & ~tokens.matching("</think>", within="reasoning") if tokens.record.row.get("reasoning_cut") else trained


class Unlearn(maskkit.Strategy):
    """Push away the rows that are marked as bad (arXiv:2508.04329 does so by token); needs loss.normalization tokens or absolute."""

    name = "unlearn"
    signed = True

    def weights(self, tokens):
        return (-0.2 if tokens.record.row.get("bad") else 1.0) * tokens.where(generated=True)


class KeyTokens(maskkit.LossModifier):
    """Weigh tokens up whose probability a long context raises by more than a limit, in place of by how much."""

    name = "key-tokens"
    token_columns = ("short_log_probs",)

    def reweight(self, scores, base):
        return base * (1.0 + 2.0 * (scores.log_prob - scores.extras["short_log_probs"] > 1.0))
