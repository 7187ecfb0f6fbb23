//! The memory that all transactions in progress share.

use std::fmt;

/// The size of a block, where the budget is large enough for many of them.
const BLOCK: usize = 256 * 1024;

/// Blocks that stay allocated while no transaction is in progress.
const KEPT: usize = 16;

/// Hands out blocks, up to a budget.
pub(super) struct Memory {
    budget: usize,
    block: usize,
    /// Bytes of all blocks, in use or not.
    allocated: usize,
    /// Blocks of the usual size that are not in use.
    free: Vec<Vec<u8>>,
}

impl Memory {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            block: (budget / 128).clamp(64, BLOCK),
            allocated: 0,
            free: Vec::new(),
        }
    }

    /// Returns the size of a transaction's next block. The first ones are small, since there may be
    /// many transactions with little in each.
    pub(super) fn size_of_block(&self, blocks_before: usize) -> usize {
        match blocks_before {
            0 => self.block / 16,
            1 => self.block / 4,
            _ => self.block,
        }
    }

    /// Whether something is so large that it is not copied to memory at all.
    pub(super) fn is_too_large(&self, size: usize) -> bool {
        size > self.budget / 8
    }

    /// Whether something fits into a block of the usual size.
    pub(super) fn is_usual(&self, size: usize) -> bool {
        size <= self.block
    }

    /// Returns an empty block with room for `size` bytes, if the budget allows.
    pub(super) fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        if size == self.block
            && let Some(block) = self.free.pop()
        {
            return Some(block);
        }
        while self.allocated + size > self.budget {
            let block = self.free.pop()?;
            self.allocated -= block.capacity();
        }
        Some(self.allocate(size))
    }

    /// Returns an empty block with room for `size` bytes, whatever the budget.
    pub(super) fn take_anyway(&mut self, size: usize) -> Vec<u8> {
        let size = size.max(self.block);
        self.take(size).unwrap_or_else(|| self.allocate(size))
    }

    fn allocate(&mut self, size: usize) -> Vec<u8> {
        let block = Vec::with_capacity(size);
        self.allocated += block.capacity();
        block
    }

    /// Takes a block back.
    pub(super) fn give(&mut self, mut block: Vec<u8>) {
        if block.capacity() == self.block && self.allocated <= self.budget {
            block.clear();
            self.free.push(block);
        } else {
            self.allocated -= block.capacity();
        }
    }

    /// Gives memory back to the system, when nothing is in progress.
    pub(super) fn rest(&mut self) {
        for block in self.free.drain(self.free.len().min(KEPT)..) {
            self.allocated -= block.capacity();
        }
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.allocated
    }
}

/// What blocks hold is not shown: they are rows.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("budget", &self.budget)
            .field("allocated", &self.allocated)
            .field("free", &self.free.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_used_again_and_the_budget_is_kept() {
        let mut memory = Memory::new(1024 * 1024);
        let size = memory.size_of_block(2);
        let mut blocks = Vec::new();
        while let Some(block) = memory.take(size) {
            blocks.push(block);
        }
        assert_eq!(blocks.len(), 128);
        assert_eq!(memory.allocated(), 1024 * 1024);
        // Another size takes the place of free blocks.
        memory.give(blocks.pop().unwrap());
        let small = memory.take(memory.size_of_block(0)).unwrap();
        assert!(memory.take(size).is_none());
        memory.give(small);
        assert!(memory.take(size).is_some());
        for block in blocks {
            memory.give(block);
        }
        memory.rest();
        assert!(memory.allocated() <= (KEPT + 1) * size);
    }

    #[test]
    fn what_has_to_be_read_back_is_given_room_beyond_the_budget() {
        let mut memory = Memory::new(1024);
        let block = memory.take_anyway(5000);
        assert!(block.capacity() >= 5000);
        assert!(memory.take(64).is_none());
        memory.give(block);
        assert_eq!(memory.allocated(), 0);
    }
}
