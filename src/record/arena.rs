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
    /// Collects values into the arena.
    #[inline]
    pub fn collect<T, I>(&self, values: I) -> &mut [T]
    where
        T: Copy,
        I: IntoIterator<Item = T>,
        I::IntoIter: ExactSizeIterator,
    {
        self.bump.alloc_slice_fill_iter(values)
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
        let first = arena.collect([1, 2, 3]);
        let second = arena.collect(std::iter::repeat_n(7u64, 1000));
        assert_eq!((&*first, second.len()), (&[1, 2, 3][..], 1000));
        arena.reset();
        assert_eq!(arena.collect(std::iter::empty::<u8>()).len(), 0);
    }
}
