//! Memory of the values of tuples.

use bumpalo::Bump;

use super::TupleData;

/// A bump arena for the values of tuples.
///
/// What is allocated borrows the arena, and [`TupleArena::reset`] takes it mutably: the compiler
/// proves that nothing outlives it.
#[derive(Debug, Default)]
pub struct TupleArena {
    bump: Bump,
}

/// Memory that the arena keeps over a reset; what one huge row needed beyond it is given back.
const RETAINED_BYTES: usize = 1024 * 1024;

impl TupleArena {
    /// Returns so many places, which hold NULL.
    #[inline]
    pub fn alloc_nulls<'a>(&'a self, count: usize) -> &'a mut [TupleData<'a>] {
        // A copy of what is there takes half of the instructions that a loop does.
        const NULLS: &[TupleData<'_>] = &[TupleData::Null; 32];
        match NULLS.get(..count) {
            Some(nulls) => self.bump.alloc_slice_copy(nulls),
            None => self.bump.alloc_slice_fill_copy(count, TupleData::Null),
        }
    }

    /// Forgets everything and keeps the memory for the next batch.
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
