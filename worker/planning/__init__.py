"""From a row to a decision. Pure, but for what names resolve to."""
