//! Reading the rows that a table has: chunk queries, their snapshots, the position of the scan.
