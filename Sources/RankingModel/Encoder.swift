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
    // MARK: - Forward

    /// Fills `x`, (B, X) with rows X rounded up to 16 floats apart.
    func encode(_ batch: Batch) {
        let c = configuration
        encoded = EncoderPass()
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

    private func encodeItems(_ batch: Batch) {
        let c = configuration
        let T = batch.historyID.count
        let tables = parameters.tables
        encoded.itemPlace = arena.indices(B)
        encoded.itemTextPlace = arena.indices(B)
        encoded.historyPlace = arena.indices(T)
        encoded.historyTextPlace = arena.indices(T)
        itemRows.begin(rows: tables[0].rows, occurrences: B + T)
        itemTexts.begin(rows: batch.texts?.rows ?? 0, occurrences: B + T)
        let (itemID, itemText) = (batch.itemID, batch.itemText)
        for r in 0..<B {
            let original = Int(order[r])
            encoded.itemPlace[r] = itemRows.place(of: itemID[original])
            let text = itemText[original]
            encoded.itemTextPlace[r] = text < 0 ? -1 : itemTexts.place(of: text)
        }
        let (historyID, historyText) = (batch.historyID, batch.historyText)
        for j in 0..<T {
            encoded.historyPlace[j] = itemRows.place(of: historyID[j])
            let text = historyText[j]
            encoded.historyTextPlace[j] = text < 0 ? -1 : itemTexts.place(of: text)
        }
        encoded.itemID = idAspect(tables[0], itemRows, parameters.places.itemID)
        encoded.itemText = textAspect(batch.texts, itemTexts, parameters.places.itemText)
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
        encoded.queryPlace = arena.indices(B)
        encoded.queryTextPlace = arena.indices(B)
        let table = parameters.tables[1]
        queryRows.begin(rows: table.rows, occurrences: B)
        queryTexts.begin(rows: batch.texts?.rows ?? 0, occurrences: B)
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
        encoded.queryID = idAspect(table, queryRows, parameters.places.queryID)
        encoded.queryText = textAspect(batch.texts, queryTexts, parameters.places.queryText)
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

    private func idAspect(
        _ table: EmbeddingTable, _ distinct: DistinctRows, _ place: AspectPlace
    ) -> AspectPass {
        let width = table.width
        let input = arena.floats(distinct.count * width)
        workers.split(distinct.count, mode: mode) { _, lower, upper in
            Kernels.gatherRows(
                input + lower * width, table.weights.base, rows: distinct.ids + lower,
                count: upper - lower, width: width)
        }
        var pass = project(Matrix(input, distinct.count, width), place, distinct.count)
        pass.input = input
        return pass
    }

    /// Rows of text gathered at a time: few enough to stay in the cache.
    private static let textTile = 256
    /// Texts below which packing the projection would cost more than it saves.
    private static let fewTexts = 24
    /// The same for gradients, where 32 numbers of each text are used at a time.
    private static let gradientTile = 64

    private func textAspect(
        _ store: TextStore?, _ distinct: DistinctRows, _ place: AspectPlace
    ) -> AspectPass {
        let d = configuration.d
        let count = distinct.count
        var pass = takeAspect(count)
        guard count > 0, let store else { return pass }
        let raw = arena.floats(count * d)
        if mode != .serve, count < Self.fewTexts {
            let gathered = arena.floats(count * store.width)
            gatherTexts(store, distinct.ids, count, into: gathered)
            Kernels.linearFew(
                raw, d, gathered, store.width, weight(place.weight), store.width, rows: count,
                columns: d, depth: store.width, accumulate: false)
            finish(&pass, raw: raw, place)
            return pass
        }
        if mode != .serve, d % 16 == 0, store.width % 32 == 0 {
            let packed = arena.floats(d * store.width)
            let w = weight(place.weight)
            for o in 0..<d {
                for k in 0..<store.width { packed[k * d + o] = w[o * store.width + k] }
            }
            workers.split(count, mode: mode) { _, lower, upper in
                Kernels.projectTexts(
                    raw + lower * d, packed: packed, outputs: d, store.base, width: store.width,
                    rows: distinct.ids + lower, count: upper - lower)
            }
            finish(&pass, raw: raw, place)
            return pass
        }
        let w = Matrix(weight(place.weight), d, store.width)
        let tile = Self.textTile
        let scratch = [arena.floats(tile * store.width), arena.floats(tile * store.width)]
        workers.split(count, mode: mode) { lane, lower, upper in
            var u = lower
            while u < upper {
                let n = min(tile, upper - u)
                gatherTexts(store, distinct.ids + u, n, into: scratch[lane])
                linear(
                    Matrix(raw + u * d, n, d), Matrix(scratch[lane], n, store.width), w)
                u += n
            }
        }
        finish(&pass, raw: raw, place)
        return pass
    }

    private func gatherTexts(
        _ store: TextStore, _ ids: UnsafeMutablePointer<Int32>, _ n: Int,
        into scratch: UnsafeMutablePointer<Float>
    ) {
        for i in 0..<n {
            (scratch + i * store.width).update(
                from: store.base + Int(ids[i]) * store.width, count: store.width)
        }
    }

    private func takeAspect(_ count: Int) -> AspectPass {
        let d = configuration.d
        var pass = AspectPass()
        pass.count = count
        pass.output = arena.floats(count * d)
        if mode == .train {
            pass.normal = arena.floats(count * d)
            pass.reciprocal = arena.floats(count)
        }
        return pass
    }

    /// Aspect of every row of `input`: LN(W input + b).
    private func project(_ input: Matrix, _ place: AspectPlace, _ count: Int) -> AspectPass {
        let d = configuration.d
        var pass = takeAspect(count)
        if count == 0 { return pass }
        let raw = arena.floats(count * d)
        linearRows(
            Matrix(raw, count, d), input, Matrix(weight(place.weight), d, input.columns))
        finish(&pass, raw: raw, place)
        return pass
    }

    private func finish(
        _ pass: inout AspectPass, raw: UnsafeMutablePointer<Float>, _ place: AspectPlace
    ) {
        let d = configuration.d
        let keep = mode == .train
        let aspect = pass
        workers.split(pass.count, mode: mode) { _, lower, upper in
            Kernels.layerNorm(
                aspect.output + lower * d, normal: keep ? aspect.normal + lower * d : nil,
                reciprocal: keep ? aspect.reciprocal + lower : nil, raw + lower * d,
                rows: upper - lower, columns: d, bias: weight(place.bias),
                gamma: weight(place.gamma), beta: weight(place.beta))
        }
    }

    // MARK: - Backward

    /// Takes the gradient of x, (B, X) in `adapted.dx`, back to every encoder tensor and table.
    func encodeBackward(_ batch: Batch) {
        let c = configuration
        let d = c.d
        let dx = adapted.dx
        let deu = arena.floats(B * d)
        let deq = arena.floats(B * d)
        let dei = arena.floats(B * d)
        let ds = arena.floats(B * d)
        let pass = encoded
        workers.split(B, mode: mode) { _, lower, upper in
            for r in lower..<upper {
                let row = dx.row(r)
                (deu + r * d).update(from: row, count: d)
                (deq + r * d).update(from: row + d, count: d)
                (dei + r * d).update(from: row + 2 * d, count: d)
                let item = pass.item + r * d
                Kernels.multiply(ds + r * d, row + 3 * d, item, count: d)
                Kernels.addProducts(deq + r * d, row + 4 * d, item, count: d)
                Kernels.addProducts(dei + r * d, row + 3 * d, pass.history + r * d, count: d)
                Kernels.addProducts(dei + r * d, row + 4 * d, pass.query + r * d, count: d)
            }
        }
        let p = parameters.places
        if wants.encoderWeights || wants.tables {
            let width = c.userWidth
            let duser = arena.floats(B * width)
            projectBackward(
                pass.user, gradient: deu, input: Matrix(pass.userInput, B, width), p.fuse,
                dinput: Matrix(duser, B, width), weights: wants.encoderWeights)
            workers.split(B, mode: mode) { _, lower, upper in
                for r in lower..<upper {
                    Kernels.addScaled(ds + r * d, duser + (r + 1) * width - d, 1, count: d)
                }
            }
            prepareItemGradients(batch)
            if c.hist == .din {
                dinBackward(batch, ds: ds, dei: dei)
            } else {
                historyBackward(batch, ds: ds)
            }
            if wants.tables { userTablesBackward(batch, duser: duser, dx: dx) }
        }
        gateBackward(
            encoded.itemGate, wq: p.itemWq, wk: p.itemWk, cls: p.itemCls, null: p.itemNull,
            dout: dei)
        gateBackward(
            encoded.queryGate, wq: p.queryWq, wk: p.queryWk, cls: p.queryCls, null: p.queryNull,
            dout: deq)
        if wants.encoderWeights || wants.tables { aspectsBackward(batch) }
    }

    /// Clears the gradients of the distinct items' aspects.
    private func prepareItemGradients(_ batch: Batch) {
        let d = configuration.d
        encoded.itemID.gradient = arena.zeros(encoded.itemID.count * d)
        encoded.itemText.gradient = arena.zeros(encoded.itemText.count * d)
    }

    private func historyBackward(_ batch: Batch, ds: UnsafeMutablePointer<Float>) {
        let d = configuration.d
        let pass = encoded
        let dnull = gradient(parameters.places.historyNull)
        for r in 0..<B {
            let original = Int(order[r])
            if batch.historyOffsets[original] == batch.historyOffsets[original + 1],
                wants.encoderWeights
            {
                Kernels.addScaled(dnull, ds + r * d, 1, count: d)
            }
        }
        // Ids on one side, texts on the other: each side alone writes its gradients.
        let rows = B
        let order = order
        batch.historyOffsets.withUnsafeBufferPointer { offsets in
            workers.pair(
                {
                    for r in 0..<rows {
                        let original = Int(order[r])
                        let (first, last) = (Int(offsets[original]), Int(offsets[original + 1]))
                        let share = 1 / Float(last - first)
                        for j in first..<last {
                            let part = pass.historyTextPlace[j] < 0 ? share : share * 0.5
                            Kernels.addScaled(
                                pass.itemID.gradient + Int(pass.historyPlace[j]) * d, ds + r * d,
                                part, count: d)
                        }
                    }
                },
                {
                    for r in 0..<rows {
                        let original = Int(order[r])
                        let (first, last) = (Int(offsets[original]), Int(offsets[original + 1]))
                        Kernels.addToRows(
                            pass.itemText.gradient, rows: pass.historyTextPlace + first,
                            count: last - first, width: d, ds + r * d,
                            scale: 0.5 / Float(last - first))
                    }
                })
        }
    }

    /// From the gates' gradients by row to the distinct aspects, their tensors and tables.
    private func aspectsBackward(_ batch: Batch) {
        let c = configuration
        let d = c.d
        let p = parameters.places
        let (itemGate, queryGate) = (encoded.itemGate, encoded.queryGate)
        let K = itemGate.K
        var pass = encoded
        pass.queryID.gradient = arena.zeros(pass.queryID.count * d)
        pass.queryText.gradient = arena.zeros(pass.queryText.count * d)
        if K == 3 { pass.itemSparse.gradient = arena.zeros(pass.itemSparse.count * d) }
        for r in 0..<B {
            let item = itemGate.daspects + r * K * d
            Kernels.addScaled(
                pass.itemID.gradient + Int(pass.itemPlace[r]) * d, item, 1, count: d)
            if pass.itemTextPlace[r] >= 0 {
                Kernels.addScaled(
                    pass.itemText.gradient + Int(pass.itemTextPlace[r]) * d, item + d, 1, count: d)
            }
            if K == 3 {
                let bag = Int(pass.bagPlace[r])
                if pass.hasBag[bag] {
                    Kernels.addScaled(
                        pass.itemSparse.gradient + bag * d, item + 2 * d, 1, count: d)
                }
            }
            if pass.queryPlace[r] >= 0 {
                Kernels.addScaled(
                    pass.queryID.gradient + Int(pass.queryPlace[r]) * d,
                    queryGate.daspects + r * 2 * d, 1, count: d)
            }
            if pass.queryTextPlace[r] >= 0 {
                Kernels.addScaled(
                    pass.queryText.gradient + Int(pass.queryTextPlace[r]) * d,
                    queryGate.daspects + (r * 2 + 1) * d, 1, count: d)
            }
        }
        encoded = pass
        idBackward(0, itemRows, pass.itemID, p.itemID)
        idBackward(1, queryRows, pass.queryID, p.queryID)
        if wants.itemText { textBackward(batch.texts, itemTexts, pass.itemText, p.itemText) }
        if wants.queryText { textBackward(batch.texts, queryTexts, pass.queryText, p.queryText) }
        if K == 3 {
            let width = c.d_sp * c.item_sparse.count
            let bags = pass.itemSparse.count
            let dinput = arena.floats(bags * width)
            projectBackward(
                pass.itemSparse, gradient: pass.itemSparse.gradient,
                input: Matrix(pass.itemSparse.input, bags, width), p.itemSparse,
                dinput: wants.tables ? Matrix(dinput, bags, width) : nil,
                weights: wants.encoderWeights)
            if wants.tables {
                for f in c.item_sparse.indices {
                    bagBackward(
                        3 + f, batch.itemSparse[f], dinput + f * c.d_sp, stride: width, rows: bags,
                        order: nil)
                }
            }
        }
    }

    private func idBackward(
        _ table: Int, _ distinct: DistinctRows, _ pass: AspectPass, _ place: AspectPlace
    ) {
        let width = parameters.tables[table].width
        let dinput = arena.floats(pass.count * width)
        projectBackward(
            pass, gradient: pass.gradient, input: Matrix(pass.input, pass.count, width), place,
            dinput: wants.tables ? Matrix(dinput, pass.count, width) : nil,
            weights: wants.encoderWeights)
        if wants.tables {
            tableGradients[table] = TableGradient(
                count: pass.count, rows: distinct.ids, values: dinput)
        }
    }

    private func textBackward(
        _ store: TextStore?, _ distinct: DistinctRows, _ pass: AspectPass, _ place: AspectPlace
    ) {
        guard pass.count > 0, let store else { return }
        let d = configuration.d
        normBackward(
            pass.gradient, pass.gradient, normal: pass.normal, reciprocal: pass.reciprocal,
            rows: pass.count, columns: d, gamma: place.gamma, beta: place.beta, weights: true)
        Kernels.addColumnSums(
            gradient(place.bias), pass.gradient, stride: d, rows: pass.count, columns: d)
        let dw = gradient(place.weight)
        let isDirect = d % 8 == 0 && store.width % 64 == 0
        let tile = isDirect ? Self.gradientTile : Self.textTile
        let scratch = arena.floats(isDirect ? 0 : tile * store.width)
        var u = 0
        while u < pass.count {
            let n = min(tile, pass.count - u)
            let rows = pass.gradient + u * d
            if isDirect {
                splitOutputs(store.width) { lower, upper in
                    Kernels.addTextGradients(
                        dw, rows, outputs: d, store.base, width: store.width,
                        rows: distinct.ids + u, count: n, next: min(tile, pass.count - u - n),
                        lower: lower, upper: upper)
                }
            } else {
                gatherTexts(store, distinct.ids + u, n, into: scratch)
                Product.weights(
                    Matrix(dw, d, store.width), Matrix(rows, n, d),
                    Matrix(scratch, n, store.width), accumulate: true)
            }
            u += n
        }
    }

    /// The way back of `project`: the gradient of the aspect, (count, d), is overwritten.
    private func projectBackward(
        _ pass: AspectPass, gradient dy: UnsafeMutablePointer<Float>, input: Matrix,
        _ place: AspectPlace, dinput: Matrix?, weights: Bool
    ) {
        if pass.count == 0 { return }
        let d = configuration.d
        normBackward(
            dy, dy, normal: pass.normal, reciprocal: pass.reciprocal, rows: pass.count, columns: d,
            gamma: place.gamma, beta: place.beta, weights: weights)
        let rows = Matrix(dy, pass.count, d)
        if weights {
            Kernels.addColumnSums(
                gradient(place.bias), dy, stride: d, rows: pass.count, columns: d)
            Product.weights(
                Matrix(gradient(place.weight), d, input.columns), rows, input, accumulate: true)
        }
        if let dinput {
            let w = Matrix(weight(place.weight), d, input.columns)
            workers.split(pass.count, mode: mode) { _, lower, upper in
                Product.back(dinput.rows(lower, upper), rows.rows(lower, upper), w)
            }
        }
    }

    /// The way back of a layer norm; sums of the lanes are added in their order.
    func normBackward(
        _ dx: UnsafeMutablePointer<Float>, _ dy: UnsafeMutablePointer<Float>,
        normal: UnsafeMutablePointer<Float>, reciprocal: UnsafeMutablePointer<Float>, rows: Int,
        columns: Int, gamma: Int, beta: Int, weights: Bool
    ) {
        let stride = (columns + 31) & ~15
        let sums = arena.zeros(2 * Workers.lanes * stride)
        workers.split(rows, mode: mode) { lane, lower, upper in
            let partial = sums + 2 * lane * stride
            Kernels.layerNormBackward(
                dx + lower * columns, dgamma: weights ? partial : nil,
                dbeta: weights ? partial + stride : nil, dy + lower * columns,
                normal: normal + lower * columns, reciprocal: reciprocal + lower,
                rows: upper - lower, columns: columns, gamma: weight(gamma))
        }
        if !weights { return }
        for lane in 0..<Workers.lanes {
            let partial = sums + 2 * lane * stride
            Kernels.addScaled(gradient(gamma), partial, 1, count: columns)
            Kernels.addScaled(gradient(beta), partial + stride, 1, count: columns)
        }
    }

    /// Gradients of the user's, the user fields' and the context fields' tables.
    private func userTablesBackward(
        _ batch: Batch, duser: UnsafeMutablePointer<Float>, dx: Matrix
    ) {
        let c = configuration
        let width = c.userWidth
        let distinct = tableSets[2]
        distinct.begin(rows: parameters.tables[2].rows, occurrences: B)
        let values = arena.zeros(B * c.d_id)
        for r in 0..<B {
            let place = Int(distinct.place(of: batch.userID[Int(order[r])]))
            Kernels.addScaled(values + place * c.d_id, duser + r * width, 1, count: c.d_id)
        }
        tableGradients[2] = TableGradient(
            count: distinct.count, rows: distinct.ids, values: values)
        for f in c.user_sparse.indices {
            bagBackward(
                3 + c.item_sparse.count + f, batch.userSparse[f], duser + c.d_id + f * c.d_sp,
                stride: width, rows: B, order: order)
        }
        for f in c.ctx.indices {
            let table = 3 + c.item_sparse.count + c.user_sparse.count + f
            let set = tableSets[table]
            set.begin(rows: parameters.tables[table].rows, occurrences: B)
            let sums = arena.zeros(min(B, parameters.tables[table].rows) * c.d_ctx)
            for r in 0..<B {
                let place = Int(set.place(of: batch.context[f][Int(order[r])]))
                Kernels.addScaled(
                    sums + place * c.d_ctx, dx.row(r) + 5 * c.d + f * c.d_ctx, 1, count: c.d_ctx)
            }
            tableGradients[table] = TableGradient(count: set.count, rows: set.ids, values: sums)
        }
    }

    /// Spreads the gradient of bag means over the rows of the bags.
    private func bagBackward(
        _ table: Int, _ bags: Bags, _ dmeans: UnsafeMutablePointer<Float>, stride: Int, rows: Int,
        order: UnsafeMutablePointer<Int32>?
    ) {
        let width = parameters.tables[table].width
        let distinct = tableSets[table]
        distinct.begin(rows: parameters.tables[table].rows, occurrences: bags.ids.count)
        let values = arena.zeros(min(bags.ids.count, parameters.tables[table].rows) * width)
        bags.ids.withUnsafeBufferPointer { ids in
            bags.offsets.withUnsafeBufferPointer { offsets in
                for r in 0..<rows {
                    let bag = order.map { Int($0[r]) } ?? r
                    let (first, last) = (Int(offsets[bag]), Int(offsets[bag + 1]))
                    if first == last { continue }
                    let share = 1 / Float(last - first)
                    for j in first..<last {
                        let place = Int(distinct.place(of: ids[j]))
                        Kernels.addScaled(
                            values + place * width, dmeans + r * stride, share, count: width)
                    }
                }
            }
        }
        tableGradients[table] = TableGradient(
            count: distinct.count, rows: distinct.ids, values: values)
    }
}
