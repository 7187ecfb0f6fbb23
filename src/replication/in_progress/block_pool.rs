//! The memory that all transactions in progress share.

use std::fmt;

/// The size of a block, where the budget is large enough for many of them.
const MAX_BLOCK_SIZE: usize = 256 * 1024;

/// Blocks that stay allocated while no transaction is in progress.
const IDLE_BLOCKS: usize = 16;

/// Hands out blocks, up to a budget.
pub(super) struct BlockPool {
    budget: usize,
    regular_size: usize,
    /// Bytes of all blocks, in use or not.
    allocated: usize,
    /// Blocks of the usual size that are not in use.
    free: Vec<Vec<u8>>,
}

impl BlockPool {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            regular_size: (budget / 128).clamp(64, MAX_BLOCK_SIZE),
            allocated: 0,
            free: Vec::new(),
        }
    }

    /// Returns the size of a transaction's next block. The first ones are small, since there may be
    /// many transactions with little in each.
    pub(super) fn block_size(&self, blocks_before: usize) -> usize {
        match blocks_before {
            0 => self.regular_size / 16,
            1 => self.regular_size / 4,
            _ => self.regular_size,
        }
    }

    /// Whether something is so large that it is not copied to memory at all.
    pub(super) fn is_oversized(&self, size: usize) -> bool {
        size > self.budget / 8
    }

    /// Whether something fits into a block of the usual size.
    pub(super) fn is_regular_size(&self, size: usize) -> bool {
        size <= self.regular_size
    }

    /// Returns an empty block with room for `size` bytes, if the budget allows.
    pub(super) fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        if size == self.regular_size
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
    pub(super) fn take_beyond_budget(&mut self, size: usize) -> Vec<u8> {
        let size = size.max(self.regular_size);
        self.take(size).unwrap_or_else(|| self.allocate(size))
    }

    fn allocate(&mut self, size: usize) -> Vec<u8> {
        let block = Vec::with_capacity(size);
        self.allocated += block.capacity();
        block
    }

    /// Takes a block back.
    pub(super) fn put_back(&mut self, mut block: Vec<u8>) {
        if block.capacity() == self.regular_size && self.allocated <= self.budget {
            block.clear();
            self.free.push(block);
        } else {
            self.allocated -= block.capacity();
        }
    }

    /// Gives memory back to the system, when nothing is in progress.
    pub(super) fn shrink(&mut self) {
        for block in self.free.drain(self.free.len().min(IDLE_BLOCKS)..) {
            self.allocated -= block.capacity();
        }
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.allocated
    }
}

/// What blocks hold is not shown: they are rows.
impl fmt::Debug for BlockPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockPool")
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
    fn blocks_are_reused_within_the_budget() {
        let mut pool = BlockPool::new(1024 * 1024);
        let size = pool.block_size(2);
        let mut blocks = Vec::new();
        while let Some(block) = pool.take(size) {
            blocks.push(block);
        }
        assert_eq!(blocks.len(), 128);
        assert_eq!(pool.allocated(), 1024 * 1024);
        // Another size takes the place of free blocks.
        pool.put_back(blocks.pop().unwrap());
        let small = pool.take(pool.block_size(0)).unwrap();
        assert!(pool.take(size).is_none());
        pool.put_back(small);
        assert!(pool.take(size).is_some());
        for block in blocks {
            pool.put_back(block);
        }
        pool.shrink();
        assert!(pool.allocated() <= (IDLE_BLOCKS + 1) * size);
    }

    #[test]
    fn a_block_beyond_the_budget_can_be_allocated() {
        let mut pool = BlockPool::new(1024);
        let block = pool.take_beyond_budget(5000);
        assert!(block.capacity() >= 5000);
        assert!(pool.take(64).is_none());
        pool.put_back(block);
        assert_eq!(pool.allocated(), 0);
    }
}
