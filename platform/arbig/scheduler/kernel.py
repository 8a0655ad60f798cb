"""A run's kernel: IPython's, which ends when its runner is gone, whatever it is busy with."""

from __future__ import annotations

import signal

from arbig.runtime.child import die_with_parent


def main() -> None:
    die_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


if __name__ == "__main__":
    main()
