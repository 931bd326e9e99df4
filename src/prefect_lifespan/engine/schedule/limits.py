"""Times and numbers that bound what no policy does."""

# Beyond its limit, for an initialiser or a closer that was cancelled at it to come to its end; then it is left behind.
GRACE_SECONDS = 1.0

# Between two looks at a clock that stands still shortly before its limit.
TICK_SECONDS = 0.01

# Attempts at one step of closing. A step that is interrupted goes on where it was; none is interrupted as often, so
# what comes to nothing that often is a defect of this library, and everything else is closed all the same.
ATTEMPTS = 20
