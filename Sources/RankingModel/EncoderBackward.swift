// The way back through the encoders, from the multi-task part's input to every aspect and table.

import Tensors

extension Network {
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

    /// Clears the gradients of the distinct items' and queries' aspects, which lie as their outputs do.
    private func prepareItemGradients(_ batch: Batch) {
        let d = configuration.d
        let ids = arena.zeros((itemRows.count + queryRows.count) * d)
        let texts = arena.zeros((itemTexts.count + queryTexts.count) * d)
        encoded.itemID.gradient = ids
        encoded.queryID.gradient = ids + itemRows.count * d
        encoded.itemText.gradient = texts
        encoded.queryText.gradient = texts + itemTexts.count * d
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
                bagsBackward(
                    3, batch.itemSparse, dinput, stride: width, rows: bags, order: nil)
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
        bagsBackward(
            3 + c.item_sparse.count, batch.userSparse, duser + c.d_id, stride: width, rows: B,
            order: order)
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

    /// Spreads the gradients of bag means over the rows of the bags, field by field; every other field
    /// goes to the helper.
    private func bagsBackward(
        _ firstTable: Int, _ fields: [Bags], _ dmeans: UnsafeMutablePointer<Float>, stride: Int,
        rows: Int, order: UnsafeMutablePointer<Int32>?
    ) {
        let width = configuration.d_sp
        let values = fields.indices.map { f in
            arena.zeros(
                min(fields[f].ids.count, parameters.tables[firstTable + f].rows) * width)
        }
        func spread(from first: Int) {
            for f in Swift.stride(from: first, to: fields.count, by: 2) {
                let distinct = tableSets[firstTable + f]
                distinct.begin(
                    rows: parameters.tables[firstTable + f].rows,
                    occurrences: fields[f].ids.count)
                bagBackward(
                    fields[f], distinct, values[f], width: width, dmeans + f * width,
                    stride: stride, rows: rows, order: order)
            }
        }
        workers.pair({ spread(from: 0) }, { spread(from: 1) })
        for f in fields.indices {
            let distinct = tableSets[firstTable + f]
            tableGradients[firstTable + f] = TableGradient(
                count: distinct.count, rows: distinct.ids, values: values[f])
        }
    }

    private func bagBackward(
        _ bags: Bags, _ distinct: DistinctRows, _ values: UnsafeMutablePointer<Float>, width: Int,
        _ dmeans: UnsafeMutablePointer<Float>, stride: Int, rows: Int,
        order: UnsafeMutablePointer<Int32>?
    ) {
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
    }
}
