"""Networks: layers by themselves and in their place. `gradcheck model`."""
