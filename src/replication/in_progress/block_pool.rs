//! The memory for spooled messages of all transactions.

use std::fmt;

/// Size of a regular block where the budget has room for many.
const MAX_BLOCK_SIZE: usize = 256 * 1024;

/// Number of blocks that stay allocated while no transaction is in progress.
const IDLE_BLOCKS: usize = 16;

/// Pool of memory blocks with a budget.
pub(super) struct BlockPool {
    budget: usize,
    regular_size: usize,
    /// Bytes of all blocks, in use or free.
    allocated: usize,
    /// Regular blocks that are not in use.
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

    /// Returns the size of the next block of a transaction that has `blocks_before` blocks. The
    /// first two are small, since many transactions may have only a few messages each.
    pub(super) fn block_size(&self, blocks_before: usize) -> usize {
        match blocks_before {
            0 => self.regular_size / 16,
            1 => self.regular_size / 4,
            _ => self.regular_size,
        }
    }

    /// Returns whether a message is too large to be stored in memory.
    pub(super) fn is_oversized(&self, size: usize) -> bool {
        size > self.budget / 8
    }

    /// Returns whether a regular block has room for `size` bytes.
    pub(super) fn fits_regular_block(&self, size: usize) -> bool {
        size <= self.regular_size
    }

    /// Returns an empty block for `size` bytes, if the budget allows one.
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

    /// Returns an empty block for `size` bytes, beyond the budget if necessary.
    pub(super) fn take_beyond_budget(&mut self, size: usize) -> Vec<u8> {
        let size = size.max(self.regular_size);
        self.take(size).unwrap_or_else(|| self.allocate(size))
    }

    fn allocate(&mut self, size: usize) -> Vec<u8> {
        let block = Vec::with_capacity(size);
        self.allocated += block.capacity();
        block
    }

    /// Takes back a block that is not in use any more.
    pub(super) fn put_back(&mut self, mut block: Vec<u8>) {
        if block.capacity() == self.regular_size && self.allocated <= self.budget {
            block.clear();
            self.free.push(block);
        } else {
            self.allocated -= block.capacity();
        }
    }

    /// Returns the memory of most free blocks to the system.
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

/// Leaves out the content of blocks, which is values of rows.
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
        // A free block is released for one of another size.
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
