"""What a network is made of and what it does: layers, receptive fields, costs, activation scales, saliency."""

from toolkit.models.inspect.layers import Inspection, Layer, inspect_model
from toolkit.models.inspect.receptive_field import Axis, Field

__all__ = ["Axis", "Field", "Inspection", "Layer", "inspect_model"]
