// The table of online learning, as text.

public enum OnlineReport {
    public static let header =
        "row                       AUC (reference)           GAUC (reference)          "
        + "first fifth      last fifth       calibration first, all   within bounds"

    /// One row: means over seeds beside the reference's.
    ///
    /// - Parameter runs: by seed, the six figures of a report, means over the held-out domains.
    public static func line(_ index: Int, _ runs: [[Double]]) -> String {
        let (name, reference) = OnlineStudy.reference[index]
        let deviations = OnlineStudy.deviations[index]
        let figures = (0..<6).map { j in meanAndDeviation(runs.map { $0[j] }) }
        let n = Double(runs.count)
        func fits(_ j: Int, _ least: Double, _ theirs: Double) -> Bool {
            let error = (figures[j].deviation * figures[j].deviation / n + theirs * theirs / 3)
                .squareRoot()
            return abs(figures[j].mean - reference[j]) <= max(least, 2.5 * error)
        }
        func pair(_ j: Int) -> String {
            JointReport.figure(figures[j]) + " (" + JointReport.fixed(reference[j]) + ")"
        }
        func short(_ j: Int) -> String {
            JointReport.fixed(figures[j].mean) + " (" + JointReport.fixed(reference[j]) + ")"
        }
        func calibration(_ j: Int) -> String {
            String(JointReport.fixed(figures[j].mean).prefix(4)) + " ("
                + String(JointReport.fixed(reference[j]).prefix(4)) + ")"
        }
        let yes = (
            fits(0, 0.005, deviations.0) ? "yes" : "NO",
            fits(1, 0.003, deviations.1) ? "yes" : "NO"
        )
        return JointReport.pad(name, 26) + JointReport.pad(pair(0), 26)
            + JointReport.pad(pair(1), 26) + JointReport.pad(short(2), 17)
            + JointReport.pad(short(3), 17) + calibration(4) + " " + calibration(5)
            + "  AUC \(yes.0), GAUC \(yes.1)"
    }

    /// One row without a reference.
    public static func plain(_ name: String, _ runs: [[Double]]) -> String {
        let figures = (0..<6).map { j in meanAndDeviation(runs.map { $0[j] }) }
        return JointReport.pad(name, 34)
            + figures.map { JointReport.figure($0) }.joined(separator: "  ")
    }
}
