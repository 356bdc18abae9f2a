"""An account's money, prices, tokens and opt-outs."""
