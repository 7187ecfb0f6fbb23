//! Memory for the values of tuples.

use bumpalo::Bump;

use super::TupleData;

/// Bump arena for the values of tuples.
///
/// Allocations borrow the arena, and [`TupleArena::reset`] borrows it mutably: the compiler proves
/// that no allocation outlives a reset.
#[derive(Debug, Default)]
pub struct TupleArena {
    bump: Bump,
}

/// Largest size, in bytes, of the memory that a reset retains. An arena that has grown beyond it,
/// for a huge row, is freed.
const RETAINED_BYTES: usize = 1024 * 1024;

impl TupleArena {
    /// Allocates `count` values, all NULL.
    #[inline]
    pub fn alloc_nulls<'a>(&'a self, count: usize) -> &'a mut [TupleData<'a>] {
        // Copying a constant takes half of the instructions of a loop.
        const NULLS: &[TupleData<'_>] = &[TupleData::Null; 32];
        match NULLS.get(..count) {
            Some(nulls) => self.bump.alloc_slice_copy(nulls),
            None => self.bump.alloc_slice_fill_copy(count, TupleData::Null),
        }
    }

    /// Frees all values and retains up to 1 MiB of memory for the next batch.
    pub fn reset(&mut self) {
        if self.bump.allocated_bytes() > RETAINED_BYTES {
            self.bump = Bump::new();
        } else {
            self.bump.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_until_the_reset_and_start_as_null() {
        let mut arena = TupleArena::default();
        for count in [0, 1, 31, 32, 33, 1000] {
            let first = arena.alloc_nulls(count);
            assert_eq!(*first, vec![TupleData::Null; count]);
            first.fill(TupleData::Text(b"first"));
            let second = arena.alloc_nulls(count);
            second.fill(TupleData::UnchangedToast);
            assert_eq!(*first, vec![TupleData::Text(b"first"); count]);
        }
        arena.reset();
        assert_eq!(*arena.alloc_nulls(2), [TupleData::Null; 2]);
    }
}
