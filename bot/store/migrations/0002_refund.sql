-- What of a job's price came back when it was settled: not price - cost, for a job that had to be
-- submitted anew was locked twice.
ALTER TABLE jobs ADD COLUMN refund_credits TEXT;
