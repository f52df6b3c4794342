// Two devices, two users and a supervisor with the unmodified WatermelonDB, against the real binary.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { complaints, uuidv7 } from './rig/phone.js'
import { World } from './rig/world.js'

for (const kind of ['sqlite', 'postgres']) {
  describe(`WatermelonDB on ${kind}`, () => {
    let world, ana, ben, sam

    before(async () => {
      world = await World.open(kind)
      ;[ana, ben, sam] = await Promise.all(['ana', 'ben', 'sam'].map((name) => world.person(`${name}@demo.example`)))
    })
    after(() => world?.close())

    // A case of Ana's with something in it, made on a phone of hers without a network and then synced.
    async function aCase(phone) {
      const id = await phone.creates('cases', { unit: 'family', summary: 'A family of four', opened_on: '2026-10-01' })
      const goal = await phone.creates('goals', { case_id: id, level: 'family', statement: 'Rent is paid by the first' })
      const contact = await phone.creates('contacts', { case_id: id, kind: 'visit', planned_start: Date.now() })
      const note = await phone.creates('notes', { case_id: id, contact_id: contact, kind: 'progress', body: 'All well' })
      await phone.syncs()
      return { id, goal, contact, note }
    }

    it('fills a new phone with exactly what its user may see', async () => {
      const made = await aCase(await world.phone(ana))
      const anas = await world.phone(ana)
      await anas.syncs()
      assert.ok((await anas.ids('cases')).includes(made.id))
      assert.equal((await anas.row('notes', made.note)).body, 'All well')
      for (const [table, changes] of Object.entries(anas.pulled.changes)) {
        assert.deepEqual([table, changes.created, changes.deleted], [table, [], []])
      }
      assert.ok(Number.isSafeInteger(anas.pulled.timestamp) && anas.pulled.timestamp > 0)
      const bens = await world.phone(ben)
      await bens.syncs()
      assert.deepEqual([await bens.ids('cases'), await bens.ids('notes')], [[], []])
      const sams = await world.phone(sam)
      await sams.syncs()
      assert.ok((await sams.ids('cases')).includes(made.id), 'a supervisor sees the cases of the team')
    })

    it('brings only what changed since, and nothing when nothing did', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      const made = await aCase(one)
      await two.syncs()
      await one.syncs() // takes in what the server set by itself
      await one.edits('goals', made.goal, { measure: 'Receipts' })
      await one.syncs()
      await two.syncs()
      const brought = Object.entries(two.pulled.changes).flatMap(([table, { updated }]) => updated.map(({ id }) => [table, id]))
      assert.deepEqual(brought, [['goals', made.goal]])
      await two.syncs()
      for (const [table, changes] of Object.entries(two.pulled.changes)) {
        assert.deepEqual([table, changes], [table, { created: [], updated: [], deleted: [] }])
      }
    })

    it('keeps what both phones hold alike', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      await aCase(one)
      await two.syncs()
      await one.syncs()
      assert.deepEqual(await one.everything(), await two.everything())
      assert.equal(await one.hasUnsyncedChanges(), false)
    })

    it('takes ids of the library’s own making as well as UUIDs', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      await one.syncs()
      const { id } = await aCase(one)
      const own = 'aB3dE6gH9jK2mN5p'
      const note = await one.creates('notes', { id: own, case_id: id, kind: 'progress', body: 'Short id' })
      await one.syncs()
      await two.syncs()
      assert.equal((await two.row('notes', note)).body, 'Short id')
    })

    it('keeps both columns when two phones edit one row, after one retry', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      const { goal } = await aCase(one)
      await two.syncs()
      await one.edits('goals', goal, { measure: 'Receipts', unit: 'months' })
      await two.edits('goals', goal, { why_it_matters: 'To stay in the flat', unit: 'weeks' })
      let status
      // The first phone's edit lands between the second one's pull and its push.
      await two.syncsOnce({ between: () => one.syncs() }).catch((error) => (status = error.status))
      assert.equal(status, 409)
      await two.syncs()
      await one.syncs()
      for (const phone of [one, two]) {
        const { measure, why_it_matters, unit } = await phone.row('goals', goal)
        assert.deepEqual([measure, why_it_matters, unit], ['Receipts', 'To stay in the flat', 'weeks'])
      }
    })

    it('stores all of a push or nothing of it', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      const { id, goal } = await aCase(one)
      await two.syncs()
      await one.edits('goals', goal, { measure: 'Receipts' })
      await two.edits('goals', goal, { measure: 'Bank statements' })
      const note = await two.creates('notes', { case_id: id, kind: 'progress', body: 'Beside a conflict' })
      let status
      await two.syncsOnce({ between: () => one.syncs() }).catch((error) => (status = error.status))
      assert.equal(status, 409)
      const third = await world.phone(ana)
      await third.syncs()
      assert.equal(await third.row('notes', note), undefined, 'nothing of a refused push is stored')
      await two.syncs()
      await third.syncs()
      assert.equal((await third.row('notes', note)).body, 'Beside a conflict')
      assert.equal((await third.row('goals', goal)).measure, 'Bank statements', 'the client’s value wins')
    })

    it('takes a push again whose answer was lost, with no second effect', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      const { id } = await aCase(one)
      await two.syncs()
      const note = await one.creates('notes', { case_id: id, kind: 'progress', body: 'Said once' })
      await assert.rejects(one.syncsOnce({ loses: true }), /lost/)
      assert.equal(await one.hasUnsyncedChanges(), true)
      await two.syncs()
      const first = two.pulled.timestamp
      assert.equal((await two.row('notes', note)).body, 'Said once')
      await one.syncs()
      assert.equal(await one.hasUnsyncedChanges(), false)
      await two.syncs()
      assert.deepEqual(two.pulled.changes.notes?.updated ?? [], [], `stored once: nothing new since ${first}`)
      assert.equal((await two.ids('notes')).filter((one) => one === note).length, 1)
    })

    it('takes a deleted draft from every phone', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      const { note } = await aCase(one)
      await two.syncs()
      await one.deletes('notes', note)
      await one.syncs()
      await two.syncs()
      assert.deepEqual(two.pulled.changes.notes.deleted, [note])
      assert.equal(await two.row('notes', note), undefined)
    })

    it('moves a reassigned case whole: one loses every row, the other gains the whole history', async () => {
      const [anas, bens] = [await world.phone(ana), await world.phone(ben)]
      const made = await aCase(anas)
      await anas.syncs()
      await bens.syncs()
      const before = bens.pulled.timestamp
      // The last thing Ana's phone did was to push this: no pull has brought it back to her.
      const pushed = await anas.creates('notes', { case_id: made.id, kind: 'progress', body: 'Just sent' })
      await anas.syncs()
      await sam.post(`/cases/${made.id}/assignments`, {
        user_id: ben.user.id,
        role: 'primary',
        reason: 'Ana is moving to another team',
        handover_note: 'The landlord is helpful',
      })
      // Ana writes on, without knowing: a row that the server has not seen when it takes the case away.
      const unseen = await anas.creates('notes', { case_id: made.id, kind: 'progress', body: 'Written on' })
      await anas.pulls()
      assert.equal(await anas.row('cases', made.id), undefined, 'one pull is enough')
      assert.equal(await anas.row('notes', pushed), undefined, 'also of what was only pushed')
      await anas.syncs()
      await anas.syncs()
      assert.equal(await anas.hasUnsyncedChanges(), false)
      await bens.syncs()
      for (const [table, id] of [
        ['cases', made.id],
        ['goals', made.goal],
        ['contacts', made.contact],
        ['notes', made.note],
        ['notes', pushed],
      ]) {
        assert.equal(await anas.row(table, id), undefined, `Ana keeps no ${table}`)
        assert.ok(await bens.row(table, id), `Ben has the ${table} although they are older than ${before}`)
      }
      for (const table of ['goals', 'contacts', 'notes', 'case_assignments', 'case_parties']) {
        const left = await Promise.all((await anas.ids(table)).map((id) => anas.row(table, id)))
        assert.deepEqual(left.filter((row) => row.case_id === made.id), [], `no ${table} of the case is left with Ana`)
      }
      const told = Object.values((await bens.everything()).sync_issues ?? {}).map(({ about_id }) => about_id)
      assert.ok((await bens.row('notes', unseen)) || told.includes(unseen), 'and Ben has, or is told of, what Ana wrote on')
      const response = await ana.fetch(`/cases/${made.id}`)
      assert.equal(response.status, 404)
    })

    it('takes a narrowed note from one phone and leaves it on the other', async () => {
      const [anas, bens] = [await world.phone(ana), await world.phone(ben)]
      const made = await aCase(anas)
      await sam.post(`/cases/${made.id}/assignments`, { user_id: ben.user.id, role: 'secondary', reason: 'Two for a while' })
      await bens.syncs()
      assert.ok(await bens.row('notes', made.note))
      await anas.syncs()
      await anas.edits('notes', made.note, { visibility: 'author_supervisor' })
      await anas.syncs()
      await bens.syncs()
      assert.deepEqual(bens.pulled.changes.notes.deleted, [made.note])
      assert.equal(await bens.row('notes', made.note), undefined)
      assert.equal((await anas.row('notes', made.note)).visibility, 'author_supervisor')
      const sams = await world.phone(sam)
      await sams.syncs()
      assert.ok(await sams.row('notes', made.note))
    })

    it('sends every column in its declared type, and no other column', async () => {
      const phone = await world.phone(sam)
      const reply = await phone.pulls()
      const tables = new Map(phone.described.tables.map(({ name, columns }) => [name, columns]))
      let rows = 0
      for (const [table, { updated }] of Object.entries(reply.changes)) {
        const columns = tables.get(table)
        assert.ok(columns, `${table} is in the schema`)
        for (const raw of updated) {
          rows += 1
          assert.deepEqual(Object.keys(raw).sort(), ['id', ...columns.map(({ name }) => name)].sort(), table)
          for (const { name, type, optional } of columns) {
            const value = raw[name]
            const right = value === null ? optional : typeof value === type
            assert.ok(right, `${table}.${name} is a ${optional ? 'nullable ' : ''}${type}: ${JSON.stringify(value)}`)
          }
          const { _status, _changed, ...kept } = await phone.row(table, raw.id)
          assert.deepEqual(kept, raw, `${table} is kept as it was sent`)
        }
      }
      assert.ok(rows > 20, `${rows} rows`)
    })

    it('leaves nothing for the library to complain about', () => {
      assert.deepEqual(complaints, [])
    })
  })
}
