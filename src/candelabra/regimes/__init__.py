"""The language of segments: learning sets, labellers, decoders and the statechart of regimes."""
