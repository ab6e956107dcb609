// Warm starts: what a new domain and rows that were never trained inherit from pretraining.

import Tensors

extension Optimizer {
    /// Makes room for the rows that tables have grown by.
    func fitTables(_ parameters: Parameters) {
        for (i, table) in parameters.tables.enumerated()
        where tableSquares[i].count < table.weights.count {
            let larger = Block(count: table.weights.count)
            larger.base.update(from: tableSquares[i].base, count: tableSquares[i].count)
            replaceTableSquares(i, larger)
        }
    }

    /// Accumulators for `larger`, which is `parameters` with one more domain: its rows take the mean
    /// of the old rows' accumulators, so that its first steps are as small as theirs have become.
    public func addingDomain(
        _ parameters: Parameters, to larger: Parameters, meanOf sources: [Int]? = nil
    ) -> Optimizer {
        let optimizer = Optimizer(larger, settings)
        Parameters.extend(
            squares, parameters.layout, to: optimizer.squares, larger.layout,
            parameters.configuration, sources)
        for (i, squares) in tableSquares.enumerated() {
            optimizer.tableSquares[i].base.update(
                from: squares.base, count: min(squares.count, optimizer.tableSquares[i].count))
        }
        return optimizer
    }

    /// Gives rows of id tables that were never trained the median of the trained rows' accumulators.
    public func warmUntrainedRows(_ parameters: Parameters, known: KnownIDs) {
        for (table, isKnown) in [(0, known.item), (1, known.query), (2, known.user)] {
            let width = parameters.tables[table].width
            let squares = tableSquares[table].base
            for j in 0..<width {
                var trained: [Float] = []
                for r in isKnown.indices where isKnown[r] { trained.append(squares[r * width + j]) }
                if trained.isEmpty { continue }
                trained.sort()
                let median = trained[(trained.count - 1) / 2]
                for r in 1..<isKnown.count where !isKnown[r] { squares[r * width + j] = median }
            }
        }
    }
}

extension Parameters {
    /// Overwrites id rows that were never trained by row 0, the unknown one: from then on ids can be
    /// used as they are.
    public func resetUntrainedRows(known: KnownIDs) {
        for (table, isKnown) in [(0, known.item), (1, known.query), (2, known.user)] {
            for r in 1..<isKnown.count where !isKnown[r] {
                tables[table].row(r).update(from: tables[table].row(0), count: tables[table].width)
            }
        }
    }
}
