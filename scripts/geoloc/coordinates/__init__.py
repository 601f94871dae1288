"""Models that predict places on the earth."""
