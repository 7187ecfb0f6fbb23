//! Log lines as the Flow runtime reads them.
