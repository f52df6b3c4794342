// Apps as they are out there, with the unmodified library: one that grows from version to version, and one whose models
// keep `created_at` and `updated_at` by themselves.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { complaints } from './rig/phone.js'
import { World } from './rig/world.js'

for (const kind of ['sqlite', 'postgres']) {
  describe(`apps on ${kind}`, () => {
    let world, ana, described

    before(async () => {
      world = await World.open(kind)
      ana = await world.person('ana@demo.example')
      described = await ana.get('/sync/schema')
    })
    after(() => world?.close())

    async function aCase(phone) {
      const id = await phone.creates('cases', { unit: 'individual', summary: 'One of many' })
      const goal = await phone.creates('goals', { case_id: id, level: 'individual', statement: 'Walk', unit: 'days' })
      const note = await phone.creates('notes', { case_id: id, kind: 'progress', body: 'Older than the app' })
      await phone.syncs()
      return { id, goal, note }
    }

    async function nothingWasWrong(phone, made) {
      const issues = Object.values((await phone.everything()).sync_issues ?? {})
      const about = issues.filter((issue) => Object.values(made).some((id) => [issue.about_id, issue.case_id].includes(id)))
      assert.deepEqual(about, [])
    }

    async function bringsNothing(phone) {
      await phone.syncs()
      const brought = Object.entries(phone.pulled.changes).filter(([, { updated, deleted }]) => updated.length + deleted.length)
      assert.deepEqual(brought, [])
      assert.equal(await phone.hasUnsyncedChanges(), false)
    }

    // The app before it had notes, and units of goals.
    const older = () => ({
      ...described,
      version: 1,
      tables: described.tables
        .filter(({ name }) => name !== 'notes')
        .map((table) =>
          table.name === 'goals' ? { ...table, columns: table.columns.filter(({ name }) => name !== 'unit') } : table,
        ),
    })
    const newer = () => ({ ...described, version: 2 })
    const columnsOf = (name) =>
      described.tables
        .find((table) => table.name === name)
        .columns.map((column) => ({ name: column.name, type: column.type, isOptional: column.optional }))
    const migrations = () => [
      {
        toVersion: 2,
        steps: [
          { add: 'table', table: 'notes', columns: columnsOf('notes') },
          { add: 'columns', table: 'goals', columns: columnsOf('goals').filter(({ name }) => name === 'unit') },
        ],
      },
    ]

    it('fills in a new table and a new column when the app has grown', async () => {
      const full = await world.phone(ana)
      const made = await aCase(full)
      const old = await world.phone(ana, { described: older() })
      await old.syncs()
      assert.ok(await old.row('goals', made.goal))
      // Work that is still unsent when the app is updated.
      await old.edits('goals', made.goal, { measure: 'Steps' })

      const grown = await old.isUpdated(newer(), migrations())
      assert.equal((await grown.row('goals', made.goal)).unit, null, 'the new column begins empty')
      await grown.syncs()
      assert.deepEqual(grown.migration, { from: 1, tables: ['notes'], columns: [{ table: 'goals', columns: ['unit'] }] })
      assert.equal((await grown.row('notes', made.note)).body, 'Older than the app')
      const goal = await grown.row('goals', made.goal)
      assert.deepEqual([goal.unit, goal.measure], ['days', 'Steps'], 'the new value, and the edit that was unsent')
      await grown.syncs()
      assert.equal(grown.migration, null, 'once')
      await full.syncs()
      assert.deepEqual(await grown.everything(), await full.everything())
      await nothingWasWrong(grown, made)
      await bringsNothing(grown)
    })

    it('fills it in all the same when the first answer is lost', async () => {
      const made = await aCase(await world.phone(ana))
      const old = await world.phone(ana, { described: older() })
      await old.syncs()
      const grown = await old.isUpdated(newer(), migrations())
      const lost = new Error('the answer was lost')
      await assert.rejects(
        grown.syncsOnce({
          between: () => {
            throw lost
          },
        }),
        lost,
      )
      assert.equal(await grown.row('notes', made.note), undefined)
      await grown.syncs()
      assert.equal((await grown.row('notes', made.note)).body, 'Older than the app')
      assert.equal((await grown.row('goals', made.goal)).unit, 'days')
      await bringsNothing(grown)
    })

    it('takes rows of an app that stamps them itself, and gives back the server’s stamps', async () => {
      const [one, two] = [await world.phone(ana, { stamps: true }), await world.phone(ana, { stamps: true })]
      const made = await aCase(one)
      const minted = await one.row('goals', made.goal)
      assert.ok(minted.created_at > 0 && minted.updated_at > 0, 'the library has stamped it')
      await two.syncs()
      await one.syncs()
      await one.edits('goals', made.goal, { measure: 'Steps' })
      const { _changed } = await one.row('goals', made.goal)
      assert.match(_changed, /updated_at/, 'the library has stamped the edit')
      await one.syncs()
      await one.syncs()
      await two.syncs()
      assert.equal((await two.row('goals', made.goal)).measure, 'Steps')
      assert.deepEqual(await one.everything(), await two.everything(), 'both hold the stamps of the server')
      await nothingWasWrong(one, made)
      await bringsNothing(one)
      await bringsNothing(two)
    })

    it('does not take two stamps for a conflict', async () => {
      const [one, two] = [await world.phone(ana, { stamps: true }), await world.phone(ana, { stamps: true })]
      const made = await aCase(one)
      await two.syncs()
      await one.edits('goals', made.goal, { measure: 'Steps' })
      await two.edits('goals', made.goal, { unit: 'weeks' })
      // The first phone's edit lands between the second one's pull and its push.
      await two.syncsOnce({ between: () => one.syncs() })
      for (const phone of [one, two, one]) await phone.syncs()
      for (const phone of [one, two]) {
        const { measure, unit } = await phone.row('goals', made.goal)
        assert.deepEqual([measure, unit], ['Steps', 'weeks'])
      }
      assert.deepEqual(await one.everything(), await two.everything())
      await nothingWasWrong(one, made)
      await nothingWasWrong(two, made)
      await bringsNothing(one)
      await bringsNothing(two)
    })

    it('believes no stamp from a phone whose clock is far off', async () => {
      const [one, two] = [await world.phone(ana, { stamps: true }), await world.phone(ana)]
      const made = await aCase(one)
      await one.edits('goals', made.goal, { measure: 'Steps', updated_at: Date.UTC(2099, 0, 1), created_at: 1 })
      await one.syncs()
      await one.syncs()
      await two.syncs()
      const { created_at, updated_at, measure } = await two.row('goals', made.goal)
      assert.equal(measure, 'Steps')
      assert.ok(Math.abs(created_at - Date.now()) < 600_000 && Math.abs(updated_at - Date.now()) < 600_000)
      assert.deepEqual(await one.everything(), await two.everything())
      await nothingWasWrong(one, made)
      await bringsNothing(one)
    })

    it('a stamp alone is sent and changes nothing', async () => {
      const [one, two] = [await world.phone(ana, { stamps: true }), await world.phone(ana)]
      const made = await aCase(one)
      await one.syncs()
      await two.syncs()
      await one.edits('goals', made.goal, { updated_at: Date.now() + 5 })
      await one.syncs()
      await one.syncs()
      await bringsNothing(one)
      await bringsNothing(two)
      assert.deepEqual(await one.everything(), await two.everything())
      await nothingWasWrong(one, made)
    })

    it('leaves nothing for the library to complain about but tables that an old app has not got', () => {
      const others = complaints.filter((said) => !/notes/.test(said))
      assert.deepEqual(others, [])
    })
  })
}
