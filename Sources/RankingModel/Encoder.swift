// Encoders: what is known of an item, a query and a user becomes one vector each.

import Tensors

/// One aspect of the distinct things of a batch: projected, normalised, and its way back.
struct AspectPass {
    var count = 0
    /// (count, in), gathered; unused for texts, which are gathered a tile at a time.
    var input = UnsafeMutablePointer<Float>(bitPattern: 64)!
    /// (count, d) each.
    var normal = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var output = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var gradient = UnsafeMutablePointer<Float>(bitPattern: 64)!
    /// (count)
    var reciprocal = UnsafeMutablePointer<Float>(bitPattern: 64)!
}

/// What the encoders keep of a batch. Rows are sorted by domain; occurrences in histories and bags
/// stay in the order of the batch.
struct EncoderPass {
    var itemID = AspectPass(), itemText = AspectPass(), itemSparse = AspectPass()
    var queryID = AspectPass(), queryText = AspectPass()
    /// Places of rows and history entries among the distinct ids and texts; -1 = missing.
    var itemPlace = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    var itemTextPlace = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    var historyPlace = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    var historyTextPlace = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    var queryPlace = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    var queryTextPlace = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    /// Bag of each row, and whether the bag has any value.
    var bagPlace = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    var hasBag = UnsafeMutablePointer<Bool>(bitPattern: 64)!
    var itemGate = GatePass(), queryGate = GatePass()
    var din = DinPass()
    /// (B, d) each: item, query, history.
    var item = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var query = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var history = UnsafeMutablePointer<Float>(bitPattern: 64)!
    /// (B, userWidth): the user's row, the means of the user's bags, the history.
    var userInput = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var user = AspectPass()
}

extension Network {
    /// Fills `x`, (B, X) with rows X rounded up to 16 floats apart.
    func encode(_ batch: Batch) {
        let c = configuration
        encoded = EncoderPass()
        encodeAspects(batch)
        encodeItems(batch)
        encodeQueries(batch)
        encodeHistory(batch)
        encodeUsers(batch)
        let d = c.d
        let stride = (c.X + 15) & ~15
        x = Matrix(arena.floats(B * stride), B, c.X, stride: stride)
        let firstContext = 3 + c.item_sparse.count + c.user_sparse.count
        let user = encoded.user.output
        let item = encoded.item
        let query = encoded.query
        let history = encoded.history
        workers.split(B, mode: mode) { _, lower, upper in
            for r in lower..<upper {
                let row = x.row(r)
                row.update(from: user + r * d, count: d)
                (row + d).update(from: query + r * d, count: d)
                (row + 2 * d).update(from: item + r * d, count: d)
                Kernels.multiply(row + 3 * d, history + r * d, item + r * d, count: d)
                Kernels.multiply(row + 4 * d, query + r * d, item + r * d, count: d)
                var column = 5 * d
                let original = Int(order[r])
                for f in c.ctx.indices {
                    let table = parameters.tables[firstContext + f]
                    (row + column).update(
                        from: table.row(Int(batch.context[f][original])), count: c.d_ctx)
                    column += c.d_ctx
                }
                for j in 0..<c.n_dense { row[column + j] = batch.dense[original * c.n_dense + j] }
            }
        }
    }

    /// Finds the distinct ids and texts of items, histories and queries, and encodes each once.
    ///
    /// Items' outputs and queries' outputs lie in one run, items first, so that an item that is a query
    /// (content query recommendation) simply has its place among the queries.
    private func encodeAspects(_ batch: Batch) {
        let T = batch.historyID.count
        let tables = parameters.tables
        let texts = batch.texts?.rows ?? 0
        encoded.itemPlace = arena.indices(B)
        encoded.itemTextPlace = arena.indices(B)
        encoded.historyPlace = arena.indices(T)
        encoded.historyTextPlace = arena.indices(T)
        itemRows.begin(rows: tables[0].rows, occurrences: B + T)
        itemTexts.begin(rows: texts, occurrences: B + T)
        queryRows.begin(rows: tables[1].rows, occurrences: 2 * B + T)
        queryTexts.begin(rows: texts, occurrences: 2 * B + T)
        let (itemID, itemText, isQuery) = (batch.itemID, batch.itemText, batch.itemIsQuery)
        for r in 0..<B {
            let original = Int(order[r])
            let asQuery = !isQuery.isEmpty && isQuery[original]
            encoded.itemPlace[r] = (asQuery ? queryRows : itemRows).place(of: itemID[original])
            let text = itemText[original]
            encoded.itemTextPlace[r] =
                text < 0 ? -1 : (asQuery ? queryTexts : itemTexts).place(of: text)
        }
        let (historyID, historyText) = (batch.historyID, batch.historyText)
        let wasQuery = batch.historyIsQuery
        for j in 0..<T {
            let asQuery = !wasQuery.isEmpty && wasQuery[j]
            encoded.historyPlace[j] = (asQuery ? queryRows : itemRows).place(of: historyID[j])
            let text = historyText[j]
            encoded.historyTextPlace[j] =
                text < 0 ? -1 : (asQuery ? queryTexts : itemTexts).place(of: text)
        }
        findQueries(batch)
        if !isQuery.isEmpty {
            for r in 0..<B where isQuery[Int(order[r])] {
                encoded.itemPlace[r] += Int32(itemRows.count)
                if encoded.itemTextPlace[r] >= 0 {
                    encoded.itemTextPlace[r] += Int32(itemTexts.count)
                }
            }
        }
        if !wasQuery.isEmpty {
            for j in 0..<T where wasQuery[j] {
                encoded.historyPlace[j] += Int32(itemRows.count)
                if encoded.historyTextPlace[j] >= 0 {
                    encoded.historyTextPlace[j] += Int32(itemTexts.count)
                }
            }
        }
        let d = configuration.d
        let ids = arena.floats((itemRows.count + queryRows.count) * d)
        let words = arena.floats((itemTexts.count + queryTexts.count) * d)
        let p = parameters.places
        encoded.itemID = idAspect(tables[0], itemRows, p.itemID, into: ids)
        encoded.queryID = idAspect(
            tables[1], queryRows, p.queryID, into: ids + itemRows.count * d)
        encoded.itemText = textAspect(batch.texts, itemTexts, p.itemText, into: words)
        encoded.queryText = textAspect(
            batch.texts, queryTexts, p.queryText, into: words + itemTexts.count * d)
    }

    private func findQueries(_ batch: Batch) {
        encoded.queryPlace = arena.indices(B)
        encoded.queryTextPlace = arena.indices(B)
        for r in 0..<B {
            let original = Int(order[r])
            guard batch.queryPresent[original] else {
                encoded.queryPlace[r] = -1
                encoded.queryTextPlace[r] = -1
                continue
            }
            encoded.queryPlace[r] = queryRows.place(of: batch.queryID[original])
            let text = batch.queryText[original]
            encoded.queryTextPlace[r] = text < 0 ? -1 : queryTexts.place(of: text)
        }
    }

    private func encodeItems(_ batch: Batch) {
        let c = configuration
        if !c.item_sparse.isEmpty { encodeItemBags(batch) }

        let K = c.item_sparse.isEmpty ? 2 : 3
        var gate = GatePass(aspects: K, rows: B, arena)
        let d = c.d
        for r in 0..<B {
            gate.aspects[r * K] = encoded.itemID.output + Int(encoded.itemPlace[r]) * d
            let text = Int(encoded.itemTextPlace[r])
            gate.aspects[r * K + 1] = text < 0 ? nil : encoded.itemText.output + text * d
            if K == 3 {
                let bag = Int(encoded.bagPlace[r])
                gate.aspects[r * K + 2] =
                    encoded.hasBag[bag] ? encoded.itemSparse.output + bag * d : nil
            }
        }
        let p = parameters.places
        encoded.item = arena.floats(B * d)
        gateForward(
            &gate, wq: p.itemWq, wk: p.itemWk, cls: p.itemCls, null: p.itemNull, out: encoded.item)
        encoded.itemGate = gate
    }

    private func encodeItemBags(_ batch: Batch) {
        let c = configuration
        let isShared = !batch.itemSparseRow.isEmpty
        let bags = isShared ? batch.itemSparse[0].count : B
        encoded.bagPlace = arena.indices(B)
        for r in 0..<B {
            encoded.bagPlace[r] = isShared ? batch.itemSparseRow[Int(order[r])] : order[r]
        }
        encoded.hasBag = arena.take(Bool.self, bags)
        encoded.hasBag.update(repeating: false, count: bags)
        let width = c.d_sp * c.item_sparse.count
        let input = arena.floats(bags * width)
        for f in c.item_sparse.indices {
            let field = batch.itemSparse[f]
            bagMeans(
                field, parameters.tables[3 + f], into: input + f * c.d_sp, stride: width,
                rows: bags, order: nil)
            for b in 0..<bags where field.offsets[b + 1] > field.offsets[b] {
                encoded.hasBag[b] = true
            }
        }
        encoded.itemSparse = project(
            Matrix(input, bags, width), parameters.places.itemSparse, bags)
        encoded.itemSparse.input = input
    }

    private func encodeQueries(_ batch: Batch) {
        let d = configuration.d
        var gate = GatePass(aspects: 2, rows: B, arena)
        for r in 0..<B {
            let id = Int(encoded.queryPlace[r])
            let text = Int(encoded.queryTextPlace[r])
            gate.aspects[r * 2] = id < 0 ? nil : encoded.queryID.output + id * d
            gate.aspects[r * 2 + 1] = text < 0 ? nil : encoded.queryText.output + text * d
        }
        let p = parameters.places
        encoded.query = arena.floats(B * d)
        gateForward(
            &gate, wq: p.queryWq, wk: p.queryWk, cls: p.queryCls, null: p.queryNull,
            out: encoded.query)
        encoded.queryGate = gate
    }

    private func encodeHistory(_ batch: Batch) {
        let d = configuration.d
        encoded.history = arena.floats(B * d)
        if configuration.hist == .din {
            dinForward(batch)
            return
        }
        let null = weight(parameters.places.historyNull)
        let pass = encoded
        workers.split(B, mode: mode) { _, lower, upper in
            for r in lower..<upper {
                let original = Int(order[r])
                let first = Int(batch.historyOffsets[original])
                let last = Int(batch.historyOffsets[original + 1])
                let out = pass.history + r * d
                if first == last {
                    out.update(from: null, count: d)
                    continue
                }
                out.update(repeating: 0, count: d)
                let n = last - first
                let share = 1 / Float(n)
                var texts = 0
                for j in first..<last where pass.historyTextPlace[j] >= 0 { texts += 1 }
                if texts == 0 || texts == n {
                    Kernels.addRows(
                        out, pass.itemID.output, rows: pass.historyPlace + first, count: n,
                        width: d, scale: texts == 0 ? share : share * 0.5)
                } else {
                    for j in first..<last {
                        Kernels.addRows(
                            out, pass.itemID.output, rows: pass.historyPlace + j, count: 1,
                            width: d,
                            scale: pass.historyTextPlace[j] < 0 ? share : share * 0.5)
                    }
                }
                Kernels.addRows(
                    out, pass.itemText.output, rows: pass.historyTextPlace + first, count: n,
                    width: d, scale: share * 0.5)
            }
        }
    }

    private func encodeUsers(_ batch: Batch) {
        let c = configuration
        let width = c.userWidth
        let input = arena.floats(B * width)
        let users = parameters.tables[2]
        let history = encoded.history
        workers.split(B, mode: mode) { _, lower, upper in
            for r in lower..<upper {
                let row = input + r * width
                row.update(from: users.row(Int(batch.userID[Int(order[r])])), count: c.d_id)
                (row + width - c.d).update(from: history + r * c.d, count: c.d)
            }
        }
        for f in c.user_sparse.indices {
            bagMeans(
                batch.userSparse[f], parameters.tables[3 + c.item_sparse.count + f],
                into: input + c.d_id + f * c.d_sp, stride: width, rows: B, order: order)
        }
        encoded.userInput = input
        encoded.user = project(Matrix(input, B, width), parameters.places.fuse, B)
    }

    /// Means of the rows of each bag; an empty bag gives zeros.
    private func bagMeans(
        _ bags: Bags, _ table: EmbeddingTable, into out: UnsafeMutablePointer<Float>, stride: Int,
        rows: Int, order: UnsafeMutablePointer<Int32>?
    ) {
        let width = table.width
        let base = table.weights.base
        bags.ids.withUnsafeBufferPointer { ids in
            bags.offsets.withUnsafeBufferPointer { offsets in
                guard let ids = ids.baseAddress ?? offsets.baseAddress,
                    let offsets = offsets.baseAddress
                else { return }
                workers.split(rows, mode: mode) { _, lower, upper in
                    Kernels.bagMeans(
                        out, stride: stride, base, width: width, ids: ids, offsets: offsets,
                        bags: order.map { UnsafePointer($0) }, lower: lower, upper: upper)
                }
            }
        }
    }
}
