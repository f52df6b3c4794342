// Syncing a WatermelonDB (0.28) app with Fieldstone. Copy this file; tests/clients runs it as it is.
//
//   import { Q } from '@nozbe/watermelondb'
//   import { hasUnsyncedChanges, synchronize } from '@nozbe/watermelondb/sync'
//
//   const sync = fieldstoneSync({ database, request, lastRequest, erase, appVersion, Q, synchronize, hasUnsyncedChanges })
//   await sync()
//
// `sync.after` then says after how many seconds the server would like to see this phone again.
// `request(path, options)` is the app's own fetch with the access token on it, refreshed when it is spent; where the
// refresh is refused, it gives that answer. `lastRequest(path, options)` is the same with the refresh token in place of
// the access token: a phone that was reported lost hands over by it what it had not sent. Then `erase()` erases all that
// the app keeps on the phone: `database.write(() => database.unsafeResetDatabase())`, and the tokens.

const PAGE = 1000
const PUSHES = 'fieldstone_pushes'
const EPOCH = 'fieldstone_epoch'

export function fieldstoneSync({
  database,
  request,
  lastRequest,
  erase,
  appVersion,
  Q,
  synchronize,
  hasUnsyncedChanges,
}) {
  let running = null
  let epoch = null // to which what is held here belongs
  let reply = null // the last one, and what of the rows it takes away was uploaded, as texts
  let version = null // of the app's schema
  let order = [] // of tables: each stands after those that its rows name

  // Two synchronize() at once abort each other: everybody waits for the one that runs.
  function sync() {
    running ??= run().finally(() => (running = null))
    return running
  }
  sync.after = 300
  return sync

  async function run() {
    try {
      await twice()
    } catch (error) {
      if (error.code === 'device_wiped') await leave()
      throw error
    }
  }

  async function twice() {
    try {
      await once()
    } catch (error) {
      // 409: somebody changed the same columns meanwhile, or the server was restored since the pull. Pull, let WatermelonDB
      // merge or salvage, push again: once.
      if (error.status !== 409) throw error
      await once()
    }
  }

  async function once() {
    // A large first sync comes in pages: pull alone until the last one, then pull and push.
    let more = true
    const always = { database, sendCreatedAsUpdated: true, onWillApplyRemoteChanges: looksOnceMore }
    while (more) {
      await synchronize({
        ...always,
        pullChanges: async (state) => {
          const page = await pull(state, `&limit=${PAGE}`)
          more = page.has_more
          return page
        },
      })
      await database.localStorage.set(EPOCH, epoch)
    }
    const pushes = (await database.localStorage.get(PUSHES)) ?? { sent: 0, acked: 0 }
    await synchronize({
      ...always,
      pullChanges: (state) => pull(state, ''),
      pushChanges: async ({ changes, lastPulledAt }) => {
        const rejected = {}
        // What is too much at once goes in parts. Where one of them fails, WatermelonDB sends all of it again.
        await inHalves(inOrder(changes), async (rows) => {
          // Pushes are counted, and each says which was the last whose answer was taken in. So the server knows one that
          // is sent again because its answer was lost, and does not undo what others have changed since. A part is a push
          // of its own; its answer is not taken in before the rows are marked, which is after the last part.
          pushes.sent += 1
          await database.localStorage.set(PUSHES, pushes)
          const counted = `push=${pushes.sent}&acked=${pushes.acked}`
          const given = `last_pulled_at=${lastPulledAt}&epoch=${reply.page.epoch}`
          const path = `/sync?${given}&schema_version=${version}&${counted}`
          const answer = await (await post(path, asPush(rows))).json()
          // Of rows in tables that this app has and the server has not yet, it says that they are not taken.
          for (const [table, ids] of Object.entries(answer.experimentalRejectedIds ?? {})) {
            rejected[table] = [...(rejected[table] ?? []), ...ids]
          }
        })
        return { experimentalRejectedIds: rejected }
      },
    })
    // Only now are the rows marked as sent.
    await database.localStorage.set(PUSHES, { ...pushes, acked: pushes.sent })
  }

  async function pull({ lastPulledAt, schemaVersion, migration }, more) {
    version = schemaVersion
    const pending = (await hasUnsyncedChanges({ database })) ? '&pending=1' : ''
    const query =
      `last_pulled_at=${lastPulledAt}&schema_version=${schemaVersion}` +
      `&migration=${encodeURIComponent(JSON.stringify(migration))}${pending}${more}`
    const known = await database.localStorage.get(EPOCH)
    const ask = async (also) => (await said(request, `/sync?${query}&epoch=${known ?? ''}${also}`)).json()
    let page = await ask('')
    order = Object.keys(page.changes)
    if (known && lastPulledAt && page.epoch !== known) {
      // The server was restored from a backup: offer it what this phone holds, then take its word for everything.
      await salvage(Object.keys(page.changes))
      page = await ask(`&salvaged=${page.epoch}`)
      await rescue(page)
      // Until its word has taken the place of everything here, this phone belongs to the old epoch: with unsent work
      // (`pending`) the server waits for that first.
      epoch = page.experimentalStrategy === 'replacement' ? page.epoch : known
      return page
    }
    await rescue(page)
    epoch = page.epoch
    return page
  }

  // What is held of a table in such a state, as it stands now; of a table that this app does not declare, nothing.
  async function holdings(table, status) {
    const found = await database.get(table)?.query(Q.where('_status', status)).fetch()
    return (found ?? []).map(({ _raw }) => ({ ..._raw }))
  }

  // Rows with unsent edits are offered too, whole: the columns beside those may be the only copy of what was synced.
  // A case goes together with who had it: until that is told, it is taken for this phone's user's.
  async function salvage(tables) {
    const held = (table) => holdings(table, Q.notEq('created'))
    const assigned = tables.includes('case_assignments') ? await held('case_assignments') : []
    const offer = async (table, rows) => {
      const cases = new Set(rows.map(({ id }) => id))
      const part = { [table]: { created: [], updated: rows, deleted: [] } }
      const along = table === 'cases' ? assigned.filter((row) => cases.has(row.case_id)) : []
      if (along.length > 0) part.case_assignments = { created: [], updated: along, deleted: [] }
      await post('/sync/salvage', part)
    }
    for (const table of tables.filter((name) => name !== 'case_assignments')) {
      await inParts(await held(table), (rows) => offer(table, rows))
    }
  }

  // Sends a list a page at a time.
  async function inParts(all, send) {
    for (let from = 0; from < all.length; from += PAGE) await inHalves(all.slice(from, from + PAGE), send)
  }

  // Sends a list; where that is too much at once, or too slow, half of it, and half of that.
  async function inHalves(rows, send) {
    try {
      await send(rows)
    } catch (error) {
      if (![408, 413].includes(error.status) || rows.length < 2) throw error
      await inHalves(rows.slice(0, rows.length / 2), send)
      await inHalves(rows.slice(rows.length / 2), send)
    }
  }

  // The rows of a push as `[table, list, row]`: a new one after those that it names, and what was changed after what is
  // new, since a goal is completed on its last rating.
  function inOrder(changes) {
    const place = (table) => (order.includes(table) ? order.indexOf(table) : order.length)
    const tables = Object.keys(changes).sort((a, b) => place(a) - place(b))
    return ['created', 'updated', 'deleted'].flatMap((list) =>
      tables.flatMap((table) => changes[table][list].map((row) => [table, list, row])),
    )
  }

  // The body of a push, from `[table, list, row]`.
  function asPush(rows) {
    const part = {}
    for (const [table, list, row] of rows) {
      part[table] ??= { created: [], updated: [], deleted: [] }
      part[table][list].push(row)
    }
    return part
  }

  // WatermelonDB destroys a row that a reply lists as deleted, unsent edits included. So what is about to be lost is
  // sent first, to be kept where a supervisor finds it. If that fails, this throws, and nothing is applied.
  // What is typed while that goes out would be lost all the same: it looks until it finds nothing new.
  async function rescue(page) {
    reply = { page, kept: new Set() }
    for (let found = await inDanger(); found.length > 0; found = await inDanger()) {
      await inParts(found, (rows) => post('/sync/quarantine', asPush(rows)))
      for (const row of found) reply.kept.add(JSON.stringify(row))
    }
  }

  // As late as the library lets anybody look, and after whoever is writing now.
  async function looksOnceMore() {
    const found = await database.read(inDanger)
    if (found.length > 0) throw new Error('somebody typed in a row that was to go: sync again')
  }

  // Unsent rows that the last reply would destroy, as far as they were not uploaded as they stand.
  // A reply that replaces everything destroys what it does not name, except rows that were never sent.
  async function inDanger() {
    const { changes, experimentalStrategy } = reply.page
    const doomed = []
    for (const [table, { updated, deleted }] of Object.entries(changes)) {
      const replaced = experimentalStrategy === 'replacement'
      if (deleted.length === 0 && !replaced) continue
      const [stays, goes] = [new Set(updated.map((row) => row.id)), new Set(deleted)]
      const unsent = (await holdings(table, Q.notEq('synced'))).filter(
        ({ id, _status }) => goes.has(id) || (replaced && _status === 'updated' && !stays.has(id)),
      )
      doomed.push(...unsent.map((row) => [table, 'updated', row]))
    }
    return doomed.filter((row) => !reply.kept.has(JSON.stringify(row)))
  }

  // This phone was reported lost and has to erase itself. What it had not sent it hands over first; people then decide.
  // Where that fails, nothing is erased: the next sync is refused in the same way and comes here again. Only what no
  // server will ever take is not offered twice: it has enough from this phone, knows nothing of it, or cannot read it.
  async function leave() {
    const unsent = []
    const tables = Object.keys(database.schema.tables)
    for (const table of ['cases', ...tables.filter((name) => name !== 'cases')]) {
      unsent.push(...(await holdings(table, Q.notEq('synced'))).map((row) => [table, 'updated', row]))
      unsent.push(...(await database.adapter.getDeletedRecords(table)).map((id) => [table, 'deleted', id]))
    }
    const farewell = (rows) => post('/sync/farewell', asPush(rows), lastRequest)
    await inParts(unsent, (rows) =>
      farewell(rows).catch((error) => {
        const tooLarge = error.status === 413 && rows.length === 1
        if (![400, 401].includes(error.status) && error.code !== 'handed_over' && !tooLarge) throw error
      }),
    )
    await erase()
  }

  function post(path, rows, by = request) {
    return said(by, path, { method: 'POST', body: JSON.stringify(rows) })
  }

  // An answer. What the phone says of itself decides nothing; it is seen in the list of devices.
  async function said(by, path, options) {
    const headers = { 'X-Device-Time': new Date().toISOString(), ...(appVersion && { 'X-App-Version': appVersion }) }
    const response = await by(path, { ...options, headers })
    const after = response.headers.get('sync-after') ?? response.headers.get('retry-after')
    if (after) sync.after = Number(after)
    if (response.ok) return response
    const problem = await response.json().catch(() => ({}))
    const { status } = response
    throw Object.assign(new Error(`${status}: ${JSON.stringify(problem)}`), { status, code: problem.code })
  }
}
