//! Memory of the records of one batch.

use bumpalo::Bump;

/// A bump arena for the values of change records.
///
/// What is allocated borrows the arena, and [`RecordArena::reset`] takes it mutably: the compiler
/// proves that no record outlives its batch.
#[derive(Debug, Default)]
pub struct RecordArena {
    bump: Bump,
}

/// Memory that the arena keeps over a reset; what one huge row needed beyond it is given back.
const KEPT: usize = 1024 * 1024;

impl RecordArena {
    /// Returns so many places, which hold this value.
    #[inline]
    pub fn places<T: Copy>(&self, count: usize, value: T) -> &mut [T] {
        self.bump.alloc_slice_fill_copy(count, value)
    }

    /// Forgets everything and keeps the memory for the next batch.
    pub fn reset(&mut self) {
        if self.bump.allocated_bytes() > KEPT {
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
    fn values_are_where_they_were_put_until_the_reset() {
        let mut arena = RecordArena::default();
        let first = arena.places(3, 0);
        first[1] = 2;
        let second = arena.places(1000, 7u64);
        assert_eq!((&*first, second.len()), (&[0, 2, 0][..], 1000));
        arena.reset();
        assert_eq!(arena.places(0, 0u8).len(), 0);
    }
}
