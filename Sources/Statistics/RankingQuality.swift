// AUC without approximation, for lists that fit in memory, and its mean over requests.

/// Exact AUC of lists.
public enum RankingQuality {
    /// The chance that a random positive was predicted above a random negative, equals half (the
    /// Mann–Whitney statistic with mean ranks for ties); nil while one class is missing.
    ///
    /// Counts pairs in whole numbers: the only rounding is the final division. NaN ranks lowest.
    ///
    /// - Parameters:
    ///   - predictions: logits or probabilities, as many as labels.
    @inlinable
    public static func auc<Prediction: BinaryFloatingPoint>(
        predictions: UnsafeBufferPointer<Prediction>, labels: UnsafeBufferPointer<Bool>
    ) -> Double? {
        precondition(
            predictions.count == labels.count,
            "\(predictions.count) predictions need as many labels, not \(labels.count)")
        var positives: UInt64 = 0
        for label in labels where label { positives += 1 }
        let negatives = UInt64(labels.count) - positives
        guard positives > 0, negatives > 0 else { return nil }
        let halfWins =
            labels.count <= 64
            ? halfWinsByPairs(predictions, labels) : halfWinsBySorting(predictions, labels)
        return Double(halfWins) / Double(2 * positives * negatives)
    }

    /// `auc` of arrays.
    @inlinable
    public static func auc<Prediction: BinaryFloatingPoint>(
        predictions: [Prediction], labels: [Bool]
    ) -> Double? {
        predictions.withUnsafeBufferPointer { predictions in
            labels.withUnsafeBufferPointer { auc(predictions: predictions, labels: $0) }
        }
    }

    /// Twice the number of (positive, negative) pairs in the right order, plus that of equal pairs.
    @inlinable
    static func halfWinsByPairs<Prediction: BinaryFloatingPoint>(
        _ predictions: UnsafeBufferPointer<Prediction>, _ labels: UnsafeBufferPointer<Bool>
    ) -> UInt64 {
        var halfWins: UInt64 = 0
        for i in 0..<labels.count where labels[i] {
            let positive = ordered(predictions[i])
            for j in 0..<labels.count where !labels[j] {
                let negative = ordered(predictions[j])
                if positive > negative {
                    halfWins &+= 2
                } else if positive == negative {
                    halfWins &+= 1
                }
            }
        }
        return halfWins
    }

    @inlinable
    static func halfWinsBySorting<Prediction: BinaryFloatingPoint>(
        _ predictions: UnsafeBufferPointer<Prediction>, _ labels: UnsafeBufferPointer<Bool>
    ) -> UInt64 {
        let order = (0..<labels.count).sorted {
            ordered(predictions[$0]) < ordered(predictions[$1])
        }
        var halfWins: UInt64 = 0
        var below: UInt64 = 0
        var i = 0
        while i < order.count {
            let value = ordered(predictions[order[i]])
            var positives: UInt64 = 0
            var negatives: UInt64 = 0
            while i < order.count, ordered(predictions[order[i]]) == value {
                if labels[order[i]] { positives += 1 } else { negatives += 1 }
                i += 1
            }
            halfWins += positives * (2 * below + negatives)
            below += negatives
        }
        return halfWins
    }

    @inlinable @inline(__always)
    static func ordered<Prediction: BinaryFloatingPoint>(_ prediction: Prediction) -> Prediction {
        prediction == prediction ? prediction : -.infinity
    }
}

/// GAUC: the AUC within each group (a request, else a user), averaged by the groups' sizes; groups in
/// which one class is missing are left out. 32 bytes; merges and corrects exactly.
///
/// - Source: H. Zhu et al., Optimized cost per click in Taobao display advertising, KDD 2017, §5.
@frozen
public struct GroupedAUC: Mergeable, Equatable {
    /// Sum of size × AUC.
    public var weighted: ExactSum
    /// Examples in groups that count.
    public var examples: UInt64
    /// Groups that count.
    public var groups: UInt64
    /// Groups left out for want of a positive or a negative.
    public var groupsOfOneClass: UInt64

    @inlinable
    public init() {
        weighted = ExactSum()
        examples = 0
        groups = 0
        groupsOfOneClass = 0
    }

    /// Adds a group of `size` examples with its AUC, nil if it has one class only.
    @inlinable
    public mutating func add(auc: Double?, size: Int) {
        if let auc {
            weighted.add(Double(size) * auc)
            examples &+= UInt64(size)
            groups &+= 1
        } else {
            groupsOfOneClass &+= 1
        }
    }

    /// Takes back a group, as when one of its labels is corrected: remove the old, add the new.
    @inlinable
    public mutating func remove(auc: Double?, size: Int) {
        if let auc {
            weighted.remove(Double(size) * auc)
            examples &-= UInt64(size)
            groups &-= 1
        } else {
            groupsOfOneClass &-= 1
        }
    }

    /// Adds one group's predictions and labels.
    @inlinable
    public mutating func add<Prediction: BinaryFloatingPoint>(
        predictions: UnsafeBufferPointer<Prediction>, labels: UnsafeBufferPointer<Bool>
    ) {
        add(
            auc: RankingQuality.auc(predictions: predictions, labels: labels), size: labels.count)
    }

    /// Adds one group's predictions and labels.
    @inlinable
    public mutating func add<Prediction: BinaryFloatingPoint>(
        predictions: [Prediction], labels: [Bool]
    ) {
        add(
            auc: RankingQuality.auc(predictions: predictions, labels: labels), size: labels.count)
    }

    @inlinable
    public mutating func merge(_ other: GroupedAUC) {
        weighted.merge(other.weighted)
        examples &+= other.examples
        groups &+= other.groups
        groupsOfOneClass &+= other.groupsOfOneClass
    }

    /// The mean; nil without a group of both classes.
    @inlinable
    public var value: Double? { examples > 0 ? weighted.value / Double(examples) : nil }
}
