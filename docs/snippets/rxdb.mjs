// Syncing an RxDB (17) app with Fieldstone. Copy this file; tests/clients runs it as it is.
//
//   import { getAssumedMasterState, getChangedDocumentsSince } from 'rxdb/plugins/core'
//   import { replicateRxCollection } from 'rxdb/plugins/replication'
//   import { Subject } from 'rxjs'
//
//   const described = await (await request('/sync/schema')).json()
//   await database.addCollections(fieldstoneCollections(described, ['cases', 'goals', 'notes', 'sync_issues']))
//   const rxdb = { replicateRxCollection, getAssumedMasterState, getChangedDocumentsSince, Subject }
//   const sync = fieldstoneSync({ database, described, request, lastRequest, erase, appVersion, ...rxdb })
//   await sync.now()   // for a button; commits of others arrive by themselves
//   await sync.stop()
//
// `request(path, options)` is the app's own fetch with the access token on it, refreshed when it is spent; where the
// refresh is refused, it gives that answer. `lastRequest(path, options)` is the same with the refresh token in place of
// the access token: a device that was reported lost hands over by it what it had not sent. Then `erase()` erases all
// that the app keeps on the device: `database.remove()`, and the tokens.

const PAGE = 1000
const TYPES = { string: 'string', number: 'number', boolean: 'boolean' }
// Columns by which a row names one of another table.
const NAMES = {
  case_id: 'cases',
  person_id: 'persons',
  represents_person_id: 'persons',
  contact_id: 'contacts',
  goal_id: 'goals',
}

// Collections for these tables. Only the id is required: a row that is gone comes as its id and nothing else.
export function fieldstoneCollections(described, names) {
  const collections = {}
  for (const { name, columns } of described.tables.filter((table) => names.includes(table.name))) {
    const properties = { id: { type: 'string', maxLength: 64 } }
    for (const column of columns) {
      const types = column.holds === 'json' ? ['array', 'object'] : [TYPES[column.holds === 'instant' ? 'string' : column.type]]
      properties[column.name] = { type: [...types, 'null'] }
    }
    collections[name] = { schema: { version: 0, primaryKey: 'id', type: 'object', properties, required: ['id'] } }
  }
  return collections
}

export function fieldstoneSync({
  database,
  described,
  request,
  lastRequest,
  erase,
  appVersion,
  replicateRxCollection,
  getAssumedMasterState,
  getChangedDocumentsSince,
  Subject,
  batchSize = 200,
  retryTime = 5000,
  spread = 3000,
}) {
  const pokes = new Subject()
  const sent = new Subject()
  const ended = new Subject()
  const answered = {} // the ids of rows whose push was answered, by table
  const replications = {}
  const epochs = {} // to which the rows of each table belong
  const begun = {} // from when on the table's epoch is known
  const listening = new AbortController()
  // The app may keep collections of its own beside these.
  const tables = described.tables.filter(({ name }) => database.collections[name])
  let salvaging = null
  let offered = 0 // the epoch of a restored server that was offered what is held here
  let leaving = null
  let quiet = 0 // the server asked not to be asked before
  let due = null // the next pull that nobody asks for
  let poked = null
  listening.signal.addEventListener('abort', () => {
    clearTimeout(due)
    clearTimeout(poked)
    sent.next()
    ended.next()
  })

  for (const { name: table } of tables) {
    const collection = database.collections[table]
    answered[table] = new Set()
    let begins
    begun[table] = new Promise((resolve) => (begins = resolve))
    replications[table] = replicateRxCollection({
      collection,
      replicationIdentifier: `fieldstone-${table}`,
      live: true,
      retryTime,
      pull: {
        batchSize,
        stream$: pokes.asObservable(),
        async handler(checkpoint, limit) {
          if (checkpoint) epochs[table] = checkpoint.epoch
          begins()
          // RxDB keeps no checkpoint of a page that brought nothing. Where there are rows and none, the whole table comes.
          const none = checkpoint || (await collection.count().exec()) === 0 ? '' : 'none'
          const path = `/sync/rxdb/${table}/pull?cursor=${checkpoint?.cursor ?? none}&limit=${limit}`
          let page = await ask(path)
          // The server was restored from a backup: offer it what this device holds, then take its word for everything.
          // (Without a checkpoint, what other tables belong to tells.)
          let restored = false
          let known = checkpoint?.epoch ?? Math.min(page.epoch, ...Object.values(epochs))
          for (; known !== page.epoch; restored = true) {
            known = page.epoch
            await salvage(known)
            page = await ask(path)
          }
          // In both cases the server cannot tell what is gone: it is what the page does not name. (RxDB leaves rows alone
          // that have unsent edits, and pushes them.)
          if (page.replace || restored) page.documents.push(...(await strays(collection, page.documents)))
          if (!checkpoint) epochs[table] = page.epoch
          // The epoch is kept with the rows: a device that stops in between finds the old one and does it again.
          return { documents: page.documents, checkpoint: { ...page.checkpoint, epoch: page.epoch } }
        },
      },
      push: {
        batchSize,
        handler: (rows) => pushes(table, rows),
      },
    })
  }
  listen()

  return {
    replications,
    async now() {
      for (const replication of Object.values(replications)) replication.reSync()
      await this.done()
    },
    async done() {
      for (const replication of Object.values(replications)) await replication.awaitInSync()
    },
    async stop() {
      listening.abort()
      await Promise.all(Object.values(replications).map((replication) => replication.cancel()))
    },
  }

  // Each table is pushed by itself, and a request that fails is repeated later: so what a row needs is waited for, row by
  // row. (A row that comes before the one it names is kept by the server, or stored without the name.)
  async function pushes(table, rows) {
    const kept = []
    for (let left = rows; left.length > 0; ) {
      if (listening.signal.aborted) throw new Error('it was stopped')
      let heard = false
      const hearing = sent.subscribe(() => (heard = true))
      const late = await tooEarly(table, left)
      hearing.unsubscribe()
      const ready = left.filter((row) => !late.has(row))
      await inHalves(ready, async (part) => {
        kept.push(...(await push(table, part)))
        for (const { newDocumentState } of part) answered[table].add(newDocumentState.id)
        sent.next()
      })
      left = left.filter((row) => late.has(row))
      if (ready.length === 0 && !heard) await wait(retryTime, sent)
    }
    return kept
  }

  // A server that was restored since, and may lack these rows, is first offered what is held here.
  async function push(table, rows) {
    await begun[table]
    const epoch = () => Math.max(offered, epochs[table] ?? Math.min(...Object.values(epochs)))
    const send = () => post(`/sync/rxdb/${table}/push?epoch=${Number.isFinite(epoch()) ? epoch() : ''}`, rows)
    try {
      return await send()
    } catch (error) {
      if (error.code !== 'epoch_changed') throw error
      await salvage(error.epoch)
      return send()
    }
  }

  // Rows that name one which is here and not sent, and goals that move before their ratings have been sent: a goal is
  // completed on its last one. (A rating in turn waits only for a goal that the server has never had.)
  async function tooEarly(table, rows) {
    const needs = rows.flatMap((row) =>
      Object.entries(NAMES).map(([column, other]) => [row, other, row.newDocumentState[column]]),
    )
    const moved = rows.filter(
      ({ assumedMasterState: was, newDocumentState: is }) => table === 'goals' && was && was.lifecycle !== is.lifecycle,
    )
    if (moved.length > 0 && replications.goal_ratings) {
      const goals = new Map(moved.map((row) => [row.newDocumentState.id, row]))
      const selector = { goal_id: { $in: [...goals.keys()] } }
      const ratings = await database.collections.goal_ratings.find({ selector }).exec()
      needs.push(...ratings.map(({ id, goal_id }) => [goals.get(goal_id), 'goal_ratings', id]))
    }
    const late = new Set()
    for (const { name: other } of tables) {
      const ids = needs.filter(([, of, id]) => of === other && id && !answered[other].has(id)).map(([, , id]) => id)
      const unsent = ids.length > 0 ? await neverSent(other, ids) : new Set()
      for (const [row, of, id] of needs) if (of === other && unsent.has(id)) late.add(row)
    }
    return late
  }

  async function neverSent(table, ids) {
    await replications[table].startPromise
    const known = await getAssumedMasterState(replications[table].internalReplicationState, ids)
    const here = await database.collections[table].findByIds(ids).exec()
    return new Set(ids.filter((id) => !known[id] && here.has(id)))
  }

  // Sends a list; where that is too much at once, or too slow, half of it, and half of that.
  async function inHalves(rows, send) {
    if (rows.length === 0) return
    try {
      await send(rows)
    } catch (error) {
      if (![408, 413].includes(error.status) || rows.length < 2) throw error
      await inHalves(rows.slice(0, rows.length / 2), send)
      await inHalves(rows.slice(rows.length / 2), send)
    }
  }

  async function strays(collection, documents) {
    const sent = new Set(documents.map(({ id }) => id))
    const held = await collection.find().exec()
    return held.filter(({ id }) => !sent.has(id)).map(({ id }) => ({ id, _deleted: true }))
  }

  // Every row with what the server is known to hold of it, in the words of a push: instants as milliseconds, JSON as text.
  // RxDB keeps what it believes of the server beside each collection; what differs from it, is not sent yet.
  async function holdings({ name, columns }) {
    await replications[name].startPromise
    const state = replications[name].internalReplicationState
    const rows = []
    let checkpoint
    for (;;) {
      const found = await getChangedDocumentsSince(state.input.forkInstance, PAGE, checkpoint)
      if (found.documents.length === 0) return rows
      checkpoint = found.checkpoint
      const known = await getAssumedMasterState(state, found.documents.map(({ id }) => id))
      for (const document of found.documents) {
        const server = known[document.id]?.docData
        const changed = columns.filter(
          ({ name: column, writable }) =>
            writable && JSON.stringify(document[column] ?? null) !== JSON.stringify(server?.[column] ?? null),
        )
        const row = { id: document.id, _changed: changed.map((column) => column.name).join() }
        for (const column of columns) row[column.name] = said(column, document[column.name])
        rows.push({ row, gone: document._deleted, known: server !== undefined && !server._deleted })
      }
    }
  }

  function said({ holds }, value) {
    if (value === undefined || value === null) return null
    if (holds === 'instant') return Date.parse(value)
    return holds === 'json' ? JSON.stringify(value) : value
  }

  // Offers rows in parts, cases and who has them before what belongs to them.
  async function hands(choose, send) {
    const all = []
    const first = ['cases', 'case_assignments']
    const place = ({ name }) => (first.includes(name) ? first.indexOf(name) : first.length)
    for (const table of [...tables].sort((a, b) => place(a) - place(b))) {
      all.push(...(await holdings(table)).flatMap((one) => choose(one).map(([list, row]) => [table.name, list, row])))
    }
    for (let from = 0; from < all.length; from += PAGE) await inHalves(all.slice(from, from + PAGE), some)

    async function some(rows) {
      const part = {}
      for (const [table, list, row] of rows) {
        part[table] ??= { created: [], updated: [], deleted: [] }
        part[table][list].push(row)
      }
      await send(part, rows.length)
    }
  }

  // All collections wait for the one offer. Rows with unsent edits are offered too, whole: the columns beside those may
  // be the only copy of what was synced. What was never sent is pushed as ever.
  function salvage(epoch) {
    if (salvaging?.epoch !== epoch) {
      const whole = ({ row, gone, known }) => (known && !gone ? [['updated', row]] : [])
      salvaging = { epoch, done: hands(whole, (part) => post('/sync/salvage', part)).then(() => (offered = epoch)) }
      salvaging.done.catch(() => (salvaging = null))
    }
    return salvaging.done
  }

  // This device was reported lost and has to erase itself. What it had not sent it hands over first; people then decide.
  // Where that fails, nothing is erased: the next answer is the same refusal and leads here again. Only what no server
  // will ever take is not offered twice: it has enough from this device, knows nothing of it, or cannot read it.
  async function leave() {
    const unsent = ({ row, gone, known }) => {
      if (gone) return known ? [['deleted', row.id]] : []
      return row._changed || !known ? [['updated', row]] : []
    }
    await hands(unsent, (part, count) =>
      post('/sync/farewell', part, lastRequest).catch((error) => {
        const tooLarge = error.status === 413 && count === 1
        if (![400, 401].includes(error.status) && error.code !== 'handed_over' && !tooLarge) throw error
      }),
    )
    listening.abort()
    await erase()
  }

  // Whatever is thrown here, RxDB asks the same again after retryTime; no table asks before the server wants to be asked.
  async function ask(path, options, by = request) {
    while (quiet > Date.now() && !listening.signal.aborted) await wait(quiet - Date.now(), ended)
    if (listening.signal.aborted && by === request) throw new Error('stopped')
    const response = await by(path, { ...options, headers: ofDevice() })
    // The server spreads both times itself, so nothing is added.
    quiet = Math.max(quiet, Date.now() + milliseconds(response, 'retry-after'))
    const after = milliseconds(response, 'sync-after')
    if (after > 0 && !listening.signal.aborted) {
      // Pokes may not come through.
      clearTimeout(due)
      due = setTimeout(() => pokes.next('RESYNC'), after)
    }
    if (response.ok) return response.json()
    const problem = await response.json().catch(() => ({}))
    if (problem.code === 'device_wiped') leaving ??= leave().catch(() => (leaving = null))
    const { code, epoch } = problem
    throw Object.assign(new Error(`${response.status} ${code}`), { status: response.status, code, epoch })
  }

  function post(path, body, by) {
    return ask(path, { method: 'POST', body: JSON.stringify(body) }, by)
  }

  // What the device says of itself decides nothing; it is seen in the list of devices.
  function ofDevice() {
    return { 'X-Device-Time': new Date().toISOString(), ...(appVersion && { 'X-App-Version': appVersion }) }
  }

  function milliseconds(response, header) {
    return 1000 * (Number(response.headers.get(header)) || 0)
  }

  // So long, or until something is heard there.
  function wait(ms, subject) {
    return new Promise((resolve) => {
      const hearing = subject.subscribe(done)
      const timer = setTimeout(done, ms)
      function done() {
        hearing.unsubscribe()
        clearTimeout(timer)
        resolve()
      }
    })
  }

  // A poke says that something was committed; what it was comes with the pull. A thousand phones hear it at once, so
  // each waits a while of its own. The stream begins with a poke: what was committed while it was down is not missed.
  // When to open it again the stream says itself; where it never opened, each device again waits a while of its own.
  async function listen() {
    let again
    while (!listening.signal.aborted) {
      let refused = 0
      try {
        const response = await request('/sync/live', { signal: listening.signal, headers: ofDevice() })
        refused = milliseconds(response, 'retry-after')
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
        let rest = '' // a line may come in two parts
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          const lines = (rest + part.value).split('\n')
          rest = lines.pop()
          for (const line of lines) {
            if (line.startsWith('retry: ')) again = Number(line.slice('retry: '.length))
            if (line === 'event: poke') poked ??= setTimeout(pull, Math.random() * spread)
          }
        }
      } catch {
        // No network: wait and try again.
      }
      if (!listening.signal.aborted) await wait(refused || (again ?? retryTime * (1 + Math.random())), ended)
    }

    function pull() {
      poked = null
      pokes.next('RESYNC')
    }
  }
}
