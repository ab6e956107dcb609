// How much memory the caps allow: a worker refuses to start where that is more than it may have.

extension EnrichSettings.Caps {
    /// Bytes that one row costs at most with everything that finds it, names of up to 40 bytes
    /// included; measured by a test. The room of tables doubles, so a growing one has up to twice that
    /// until it is full.
    public enum RowBytes {
        public static func user(history: Int) -> Int { 96 + 8 * history }
        public static let item = 128
        /// 64 bytes of its own; the rest is head, name, two places in a queue and in two indexes.
        public static let openImpression = 336
        public static let query = 80
        public static let duplicate = 80
        public static let waitingClick = 272
    }

    /// Bytes of one partition's state when every table is full.
    public func bytes(history: Int) -> Int {
        users * RowBytes.user(history: history) + items * RowBytes.item
            + openImpressions * RowBytes.openImpression + queries * RowBytes.query
            + duplicates * RowBytes.duplicate + waitingClicks * RowBytes.waitingClick
    }
}
