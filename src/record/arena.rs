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
    /// Collects so many values into the arena; those that are missing are `filler`.
    #[inline]
    pub fn collect<T: Copy>(
        &self,
        length: usize,
        filler: T,
        values: impl Iterator<Item = T>,
    ) -> &mut [T] {
        let places = self.bump.alloc_slice_fill_copy(length, filler);
        for (place, value) in places.iter_mut().zip(values) {
            *place = value;
        }
        places
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
        let first = arena.collect(3, 0, [1, 2].into_iter());
        let second = arena.collect(1000, 7u64, std::iter::empty());
        assert_eq!((&*first, second.len()), (&[1, 2, 0][..], 1000));
        arena.reset();
        assert_eq!(arena.collect(0, 0u8, 0..9).len(), 0);
    }
}
