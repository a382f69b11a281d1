"""Models whose weights all matter."""

import torch


def filled(kind, config):
    """Return a model of a DiT's class, seeded, without the zeros that it starts with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = kind(config)
        for parameter in model.parameters():
            if parameter.requires_grad and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()
