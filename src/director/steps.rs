//! Steps that grow with what they are about, counted in tests: what an input costs is tested by their number.

use std::cell::Cell;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// So many things are looked at.
pub(super) fn take(steps: usize) {
    TAKEN.set(TAKEN.get() + steps);
}

/// Steps this thread has taken.
pub(super) fn taken() -> usize {
    TAKEN.get()
}
