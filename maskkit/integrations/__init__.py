"""maskkit as a guest: exact weights and the exact mean in a trainer that somebody else wrote.

    maskkit.integrations.transformers   WeightedTrainer, and a mixin for other subclasses of Trainer
    maskkit.integrations.trl            WeightedSFTTrainer
    maskkit.integrations.lightning      WeightedModule and WeightedDataModule
    maskkit.integrations.global_batch   GlobalBatchLoss, for accelerate, Fabric, torchtitan-style and plain loops

All four compute the same number, with `GlobalBatchLoss`: the weighted sum over every micro-batch, on every rank, of one optimizer step,
divided once.
"""
