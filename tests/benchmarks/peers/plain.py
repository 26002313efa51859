"""The job's network as a user of plain PyTorch writes it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from peers.job import Job
from toolkit.models.dropout import Dropout
from toolkit.models.flatten import Flatten


def plain_model(job: Job) -> nn.Module:
    """A copy of the network in train mode, contiguous, with torch's own dropout and flattening in place of the toolkit's faster ones."""
    model = copy.deepcopy(job.run.model).to(memory_format=torch.contiguous_format).train()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Dropout):
                setattr(parent, name, nn.Dropout(child.p))
            elif isinstance(child, Flatten):
                setattr(parent, name, nn.Flatten())
    return model
