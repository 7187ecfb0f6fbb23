//! How values are written: feature flags, and the limit of size.

/// The size in bytes up to which a value is captured whole: its text, the binary string that it
/// stands for, or its JSON as received. Key columns, numbers and the like have no limit.
pub(super) const LARGE_VALUE: usize = 8 << 20;

/// The feature flags that decide how values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueOptions {
    /// A `date` is a date; otherwise a timestamp at midnight.
    pub date_as_date: bool,
    /// A `time` is a time of day; otherwise a number of microseconds.
    pub time_as_time: bool,
    /// An array is a JSON array of all elements; otherwise an object of dimensions and elements.
    pub flatten_arrays: bool,
    /// An array is a JSON array of arrays for each dimension, whatever `flatten_arrays` says.
    pub multidimensional_arrays: bool,
}

impl Default for ValueOptions {
    fn default() -> Self {
        Self {
            date_as_date: true,
            time_as_time: true,
            flatten_arrays: true,
            multidimensional_arrays: false,
        }
    }
}
