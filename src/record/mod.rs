//! Change records and the plan that turns them into documents.
